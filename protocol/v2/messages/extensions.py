"""Messages of extension 0x0001, which negotiates all others. request_id has 16 bits here."""

from protocol.v2.messages.base import Message


class RequestExtensions(Message, frozen=True, gc=False):
    """Asks for extensions, right after SetupConnection.Success. Servers that do not know the extension stay silent."""

    request_id: int
    requested_extensions: tuple[int, ...]


class RequestExtensionsSuccess(Message, frozen=True, gc=False):
    """The extensions the server grants."""

    request_id: int
    supported_extensions: tuple[int, ...]


class RequestExtensionsError(Message, frozen=True, gc=False):
    """None is granted, or one that the server requires was not asked for."""

    request_id: int
    unsupported_extensions: tuple[int, ...]
    required_extensions: tuple[int, ...]
