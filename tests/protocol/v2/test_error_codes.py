"""The codes we send."""

from protocol.v2 import error_codes
from protocol.v2.types import is_printable_ascii

CODES = {name: value for name, value in vars(error_codes).items() if name.isupper()}


def test_codes_are_named_after_their_text_and_may_be_sent() -> None:
    assert len(CODES) > 30
    for name, code in CODES.items():
        assert code.decode() == name.lower().replace("_", "-")
        assert is_printable_ascii(code)
        assert len(code) <= 255
