"""Messages of other implementations: bytes of sv2-tp, field values of the reference implementation's message generator."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.errors import RemoteProtocolError
from protocol.v2.codec import decode_payload, encode_payload
from protocol.v2.header import FrameHeader, pack_header, unpack_header
from protocol.v2.layouts import LAYOUT_BY_TYPE, LAYOUTS, Layout
from protocol.v2.messages.base import Message
from protocol.v2.messages.template_distribution import NewTemplate, SubmitSolution
from protocol.v2.types import Form, WireType
from tests.support.sv2 import build, parse

FILES = Path(__file__).parents[2] / "vectors"
SV2TP = json.loads((FILES / "sv2tp_messages.json").read_text())["vectors"]
PAYLOADS = [vector for vector in SV2TP if "payload" in vector and vector["name"] != "SubmitSolution"]
HEADERS = [vector for vector in SV2TP if "header" in vector]
# SRI names templates' SetNewPrevHash like the mining one; only the fields tell them apart.
BY_NAME = {layout.message_class.__name__: layout for layout in LAYOUTS}

Json = int | bool | str | list[int] | list[str] | list[list[int]]


def value(wire_type: WireType, given: Json) -> object:
    """A field as our class has it, from hex, text or a list of octets."""
    if wire_type.form is Form.HASHES:
        return tuple(octets(item) for item in given)  # type: ignore[union-attr]  # a list in the files
    if wire_type.form is Form.OPTION:
        return given[0] if given else None  # type: ignore[index]  # a list in the files
    if wire_type.annotation != "bytes" and wire_type.form is not Form.TARGET:
        return given
    plain = octets(given) if wire_type.form not in (Form.CODE,) and wire_type.name != "STR0_255" else str(given).encode()
    return int.from_bytes(plain, "little") if wire_type.form is Form.TARGET else plain


def octets(given: object) -> bytes:
    return bytes.fromhex(given) if isinstance(given, str) else bytes(given)  # type: ignore[call-overload]


@pytest.mark.parametrize("vector", PAYLOADS, ids=lambda vector: vector["name"])
def test_payloads_of_sv2_tp(vector: dict[str, object]) -> None:
    payload = bytes.fromhex(str(vector["payload"]))
    layout = LAYOUT_BY_TYPE[0, int(str(vector["type"]))]
    message = decode_payload(0, layout.message_type, payload)
    assert isinstance(message, layout.message_class)
    assert message == parse(layout, payload)
    assert message.rest == b""
    assert encode_payload(message) == payload == build(layout, message)
    types = dict(layout.fields)
    for name, given in dict(vector["fields"]).items():  # type: ignore[call-overload]  # a mapping in the file
        assert getattr(message, name) == value(types[name], given), name


def test_outputs_of_a_template_are_counted_beside_them() -> None:
    vector = next(vector for vector in PAYLOADS if vector["name"] == "NewTemplate(3 outputs)")
    message = decode_payload(0, 0x71, bytes.fromhex(vector["payload"]))
    assert isinstance(message, NewTemplate)
    assert message.coinbase_tx_outputs_count == 3
    assert len(message.coinbase_tx_outputs) == 33


@pytest.mark.parametrize("vector", HEADERS, ids=lambda vector: vector["name"])
def test_headers_of_sv2_tp(vector: dict[str, object]) -> None:
    fields = dict(vector["fields"])  # type: ignore[call-overload]  # a mapping in the file
    packed = bytes.fromhex(str(vector["header"]))
    assert unpack_header(packed) == FrameHeader(fields["ext"], fields["msg_type"], fields["length"])
    assert pack_header(fields["ext"], fields["msg_type"], fields["length"]) == packed


def test_solution_whose_length_says_less_than_there_is_keeps_the_rest_apart() -> None:
    vector = next(vector for vector in SV2TP if vector["name"] == "SubmitSolution")
    payload = bytes.fromhex(vector["payload"])
    message = decode_payload(0, 0x76, payload)
    assert isinstance(message, SubmitSolution)
    assert (message.template_id, message.version, message.header_timestamp) == (2, 2, 1661877399)
    assert len(message.coinbase_tx) == 93
    assert message.rest == payload[-23:]
    assert encode_payload(message) == payload
    with pytest.raises(RemoteProtocolError):
        decode_payload(0, 0x76, payload[: -23 - 1])


def generated() -> Iterator[tuple[str, Layout, dict[str, Json]]]:
    """Every message of the message generator, with the fields of today."""

    def walk(node: object) -> Iterator[tuple[str, dict[str, Json]]]:
        if isinstance(node, dict):
            if isinstance(node.get("message"), dict):
                yield node["id"], dict(node["message"])
            else:
                for child in node.values():
                    yield from walk(child)
        elif isinstance(node, list):
            for child in node:
                yield from walk(child)

    for vector in json.loads((FILES / "sri_message_generator.json").read_text())["vectors"]:
        for identifier, fields in walk(vector["content"]):
            name = str(fields.pop("type"))
            if name == "SetNewPrevHash" and "template_id" in fields:
                name = "TemplateSetNewPrevHash"
            if re.match(r"Open\w+Success", name):
                fields.setdefault("group_channel_id", 0)  # added to the specification in 2025-12
            yield identifier, BY_NAME[name], fields


@pytest.mark.parametrize(("identifier", "layout", "fields"), list(generated()))
def test_field_values_of_the_message_generator(identifier: str, layout: Layout, fields: dict[str, Json]) -> None:
    assert set(fields) == {name for name, _ in layout.fields}, identifier
    message: Message = layout.message_class(*(value(wire_type, fields[name]) for name, wire_type in layout.fields))
    payload = encode_payload(message)
    assert payload == build(layout, message)
    assert decode_payload(layout.extension_type, layout.message_type, payload) == message
