"""Strings of Stratum V2 as text for logs, pages and the ledger. They are any bytes on the wire, and stay bytes in messages."""


def printable(data: bytes) -> str:
    """UTF-8 as text that can forge no line: what is not UTF-8 appears as escapes, control characters as question marks."""
    text = data.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
