"""A client of a V1 pool on its own: what it asks, what the pool says, and what that means."""

import json

from protocol.v1 import messages as m
from protocol.v1.client import ClientConnection

MASK = 0x1FFFE000


def said(line: bytes) -> dict:
    """A request as the pool reads it."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def events_of(client: ClientConnection, *messages: object) -> list[m.PoolEvent]:
    """What these lines mean to the client."""
    for message in messages:
        client.feed((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
    return list(iter(client.next_event, None))


def event_of(client: ClientConnection, message: object) -> m.PoolEvent:
    """The same for one line that means one thing."""
    (event,) = events_of(client, message)
    return event


def unasked(method: str, *params: object) -> m.PoolEvent:
    """What a notification means."""
    return event_of(ClientConnection(), {"id": None, "method": method, "params": list(params)})


def answer(request: bytes, result: object, error: object = None) -> dict:
    """The answer to a request."""
    return {"id": said(request)["id"], "result": result, "error": error}


def ready() -> ClientConnection:
    """A client that has subscribed and authorized."""
    client = ClientConnection()
    events_of(client, answer(client.subscribe("ua"), [[], "01020304", 4]), answer(client.authorize("a.b", "x"), True))
    assert client.is_subscribed
    assert client.is_authorized
    return client


def why_refused(event: m.PoolEvent) -> str:
    """The reason of a refusal."""
    assert isinstance(event, m.Refused)
    return event.reason


def notification(method: str, *params: object) -> dict:
    """What a pool says unasked."""
    return {"id": None, "method": method, "params": list(params)}


COINBASE1 = "01000000" + "01" + "00" * 32 + "ffffffff" + "20" + "03a0bb0d"
COINBASE2 = "ffffffff" + "01" + "00f2052a01000000" + "00" + "00000000"
PARAMS = ["6b03", "00010203" * 8, COINBASE1, COINBASE2, ["ab" * 32], "20000000", "170331db", "65000001", True]
NOTIFY = notification("mining.notify", *PARAMS)


def notified(position: int, value: object) -> m.PoolEvent:
    """A job in which one parameter is another."""
    params = list(PARAMS)
    params[position] = value
    return unasked("mining.notify", *params)
