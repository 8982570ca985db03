"""How long a test waits in real time for what should happen. Only a test that fails waits so long: a busy machine is no failure."""

from typing import Final

# A machine that runs other things beside the tests was seen to be thirty times slower for a while. pytest's own limit is beyond it.
PATIENCE_S: Final = 120.0
