"""Files that hold secrets: nobody but their owner may read them.

It does NOT read them; whoever needs a secret does.
"""

import stat
from pathlib import Path


def exposed(path: Path) -> str | None:
    """Cause and remedy where others may read the file; None where they may not. Raises OSError."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{path} can be read by others (mode {mode:04o}); chmod 600 {path}" if mode & 0o077 else None
