"""Text from the network made fit for a database column and a metric label. Does not judge what it means."""

TEXT_LIMIT = 500  # names, reasons and results are shorter; a hostile one must not fill the disk
LABEL_LIMIT = 64


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` cut to `limit` bytes of UTF-8, with everything unprintable (NUL, lone surrogates, control codes) as "?".

    PostgreSQL refuses NUL, no driver can encode a lone surrogate, and an index takes 2,704 bytes a row: one such name must not cost
    a batch.
    """
    if len(text) > limit:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    return text if text.isascii() else text.encode()[:limit].decode(errors="ignore")


def clean_optional(text: str | None) -> str | None:
    """As clean_text; unknown stays unknown."""
    return None if text is None else clean_text(text)
