"""Whose fault it was: the two ways a protocol can be broken.

`LocalProtocolError` is our own misuse of a state machine (a bug). `RemoteProtocolError` is what only a broken peer causes; it may
carry the bytes to answer before closing. What a healthy peer causes in normal running is a value, never an exception.
"""


class ProtocolError(Exception):
    """Base of both; never raised itself."""

    def __init__(self, reason: str) -> None:
        if type(self) is ProtocolError:
            raise TypeError("raise LocalProtocolError or RemoteProtocolError")
        super().__init__(reason)
        self.reason = reason


class LocalProtocolError(ProtocolError):
    """We asked the state machine for a step that its state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    `reply` is what to send before closing (empty: close at once).
    """

    def __init__(self, reason: str, reply: bytes = b"") -> None:
        super().__init__(reason)
        self.reply = reply
