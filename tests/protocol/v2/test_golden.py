"""Conversations with peers made from the reference implementation's published crates, told again to our own roles.

Each line is a frame as it was before it was sealed, and who sent it. A device's frames must lead our server role to the same events
and be what our codec writes; what the proxy answered then must hold to the rules of any conversation. A pool's frames must lead our
client role to the same requests, byte for byte.
"""

import json
from pathlib import Path

import pytest

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.merkle import root_from_path
from protocol.v2 import client_events, server_events
from protocol.v2.client import ClientConnection
from protocol.v2.codec import decode_payload, encode_frame, max_payload
from protocol.v2.messages import mining
from protocol.v2.messages.base import Message
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection
from protocol.v2.transport import Frame, PlainTransport
from tests.support.v2_rules import Conversation

GOLDEN = Path(__file__).parents[2] / "golden" / "v2"
DEVICES = ["crates-device_to_proxy-extended", "crates-device_to_proxy-standard"]
POOL = "proxy_to_crates-pool"


def lines(name: str) -> list[tuple[str, bytes]]:
    """(who, frame) in the order in which they were seen."""
    read = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(line["from"], bytes.fromhex(line["frame"])) for line in read]


def frame(data: bytes) -> Frame:
    """One plaintext frame."""
    transport = PlainTransport(max_payload)
    transport.feed(data)
    found = transport.next_frame()
    assert found is not None
    return found


def message(data: bytes) -> Message:
    """What a frame says."""
    read = frame(data)
    found = decode_payload(read.extension_type, read.message_type, read.payload)
    assert isinstance(found, Message)
    return found


@pytest.mark.parametrize("name", [*DEVICES, POOL])
def test_every_frame_of_other_peoples_code_is_what_our_codec_writes(name: str) -> None:
    for _, data in lines(name):
        assert encode_frame(message(data)) == data


@pytest.mark.parametrize("name", DEVICES)
def test_what_the_proxy_said_to_the_device_keeps_all_rules(name: str) -> None:
    conversation = Conversation()
    for who, data in lines(name):
        if who == "device":
            conversation.said(message(data))
        else:
            conversation.heard(frame(data))


@pytest.mark.parametrize("name", DEVICES)
def test_the_device_leads_our_server_to_the_same_events(name: str) -> None:
    server = ServerConnection(Offer())
    shares = []
    for who, data in lines(name):
        if who != "device":
            continue
        event = server.receive(frame(data))
        if isinstance(event, server_events.ChannelWanted):
            answer = next(each for _, line in lines(name) if hasattr(each := message(line), "group_channel_id"))
            if event.is_extended:
                channel_id, reply = server.open_extended(event, answer.target, answer.extranonce_prefix, answer.extranonce_size)
            else:
                channel_id, reply = server.open_standard(event, answer.target, answer.extranonce_prefix)
            assert reply == encode_frame(answer)
            assert channel_id == answer.channel_id
        elif isinstance(event, server_events.ShareSubmitted):
            shares.append(event.sequence_number)
        else:
            assert isinstance(event, server_events.ConnectionSetUp)
            assert (event.vendor, event.firmware) == (b"crates", b"peer 1")
    assert shares == [1, 2, 3]


def test_the_pool_leads_our_client_to_the_same_requests() -> None:
    client = ClientConnection()
    said = [client.setup("127.0.0.1", message_of_setup().endpoint_port, flags=4, firmware="thermostratum/0.1")]
    job: client_events.JobReceived | None = None
    accepted = 0
    for who, data in lines(POOL):
        if who == "proxy":
            expected = message(data)
            if isinstance(expected, mining.SubmitSharesExtended):
                assert job is not None
                said.append(submit(client, job, expected))
            assert said.pop(0) == data
            continue
        for event in client.receive(frame(data)):
            match event:
                case client_events.SetUp():
                    said.append(client.request_extensions([2]))
                case client_events.ExtensionsAgreed():
                    said.append(client.open_extended("account", 0.0, opened_target(), 4)[1])
                case client_events.JobReceived():
                    job = event
                case client_events.SharesAccepted():
                    accepted += event.count
    assert accepted == 3
    assert not said


def message_of_setup() -> Message:
    return message(lines(POOL)[0][1])


def opened_target() -> int:
    request = next(each for _, line in lines(POOL) if isinstance(each := message(line), mining.OpenExtendedMiningChannel))
    return request.max_target


def submit(client: ClientConnection, job: client_events.JobReceived, share: mining.SubmitSharesExtended) -> bytes:
    """The share as we send it, after a look at its work as the pool did."""
    txid = sha256d(job.coinbase_prefix + job.extranonce_prefix + share.extranonce + job.coinbase_suffix)
    root = root_from_path(txid, job.merkle_path)
    header = pack_header(share.version, job.prev_hash, root, share.ntime, job.nbits, share.nonce)
    assert int.from_bytes(sha256d(header), "little") < job.target
    fields = {"nonce": share.nonce, "ntime": share.ntime, "version": share.version, "extranonce": share.extranonce}
    return client.submit_extended(job.channel_id, job.job_id, **fields, user_identity="account.unit-9")[1]  # type: ignore[arg-type]
