"""Sessions of real programs, replayed through both roles: as rows, as bursts, and byte by byte.

The expected events are made here from the JSON, without the product's readers. Nothing is skipped: each row must give exactly the
event it means, or the refusal named here.
"""

import json
import re
from collections import Counter, defaultdict, deque
from pathlib import Path

import pytest

from protocol.bitcoin.target import target_from_nbits
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.v1 import messages as m
from protocol.v1.client import ClientConnection
from protocol.v1.server import ServerConnection

GOLDEN = Path(__file__).parents[2] / "golden"
TRANSCRIPTS = sorted(path.name for path in GOLDEN.glob("*.jsonl") if path.name != "cgminer-api.jsonl")
CHUNKINGS = ["row", "byte"]
NOT_JSON = '{"id":16,"method":'  # the hostile client's last words


def rows_of(transcript: str) -> list[dict]:
    return [row for line in (GOLDEN / transcript).read_text().splitlines() if "raw" in (row := json.loads(line))]


def pieces(data: bytes, chunking: str) -> list[bytes]:
    return [data] if chunking == "row" else [data[i : i + 1] for i in range(len(data))]


def said_by_miner(obj: dict) -> m.ClientEvent:
    """What a miner's row means, read independently."""
    request_id = json.dumps(obj["id"]).encode()
    params = obj["params"]
    match obj["method"]:
        case "mining.subscribe":
            return m.Subscribe(request_id, params[0], params[1] if len(params) > 1 else None)
        case "mining.authorize":
            return m.Authorize(request_id, *params)
        case "mining.configure":
            names, values = params
            rolling = m.VersionRollingRequest(int(values["version-rolling.mask"], 16), values["version-rolling.min-bit-count"])
            least = values.get("minimum-difficulty.value")
            return m.Configure(request_id, rolling, least and float(least), "subscribe-extranonce" in names, False, ())
        case "mining.submit" if len(params) < 5:
            return m.BadRequest(request_id, "mining.submit", 20, "Expected `array` of at least length 5, got 2")
        case "mining.submit":
            user, job_id, extranonce2, ntime, nonce, *bits = params
            numbers = int(ntime, 16), int(nonce, 16), int(bits[0], 16) if bits else None
            return m.Submit(request_id, user, job_id, bytes.fromhex(extranonce2), *numbers)
        case "mining.extranonce.subscribe":
            return m.ExtranonceSubscribe(request_id)
        case "mining.suggest_difficulty":
            return m.SuggestDifficulty(request_id, float(params[0]))
        case "mining.get_transactions":
            return m.GetTransactions(request_id)
        case "mining.ping":
            return m.Ping(request_id)
        case method:
            assert method == "mining.nosuch"
            return m.UnknownRequest(request_id, method)


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_every_row_of_a_real_miner_is_the_event_it_means(transcript: str, chunking: str) -> None:
    servers: dict[int, ServerConnection] = {}
    for row in rows_of(transcript):
        if row["from"] != "client":
            continue
        server = servers.setdefault(row["conn"], ServerConnection())
        for piece in pieces(row["raw"].encode(), chunking):
            server.feed(piece)
            assert server.next_event() is None
        server.feed(b"\n")
        if row["raw"] == NOT_JSON:
            with pytest.raises(RemoteProtocolError, match="not JSON") as caught:
                server.next_event()
            assert json.loads(caught.value.reply)["error"][0] == 20
        else:
            assert server.next_event() == said_by_miner(json.loads(row["raw"]))
        assert server.next_event() is None


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_all_rows_of_a_real_miner_in_one_burst_give_the_same_events(transcript: str) -> None:
    streams: dict[int, list[str]] = {}
    for row in rows_of(transcript):
        if row["from"] == "client" and row["raw"] != NOT_JSON:
            streams.setdefault(row["conn"], []).append(row["raw"])
    for lines in streams.values():
        server = ServerConnection()
        server.feed("\r\n".join(lines).encode() + b"\r\n")
        events = list(iter(server.next_event, None))
        assert events == [said_by_miner(json.loads(line)) for line in lines]


class PoolReplay:
    """A ClientConnection that asks what the recorded client asked; the recorded ids are replaced by ours in the answers."""

    def __init__(self) -> None:
        self.client = ClientConnection()
        self.asked: defaultdict[str, deque[tuple[int, str]]] = defaultdict(deque)
        self.users: dict[int, str] = {}

    def ask(self, raw: str) -> None:
        if raw == NOT_JSON:
            return
        obj = json.loads(raw)
        client, params, method = self.client, obj["params"], obj["method"]
        match method:
            case "mining.subscribe":
                line = client.subscribe(*params)
            case "mining.authorize":
                line = client.authorize(*params)
            case "mining.configure":
                line = client.configure(int(params[1]["version-rolling.mask"], 16))
            case "mining.suggest_difficulty":
                line = client.suggest_difficulty(params[0])
            case "mining.extranonce.subscribe":
                line = client.extranonce_subscribe()
            case "mining.submit":
                try:
                    _, line = client.submit(params[0], params[1], b"", 0, 0, None)
                except LocalProtocolError:
                    assert not client.is_authorized  # the hostile client's submit before authorize: we would never send it
                    return
            case _:
                line = client.ping()
        ours = json.loads(line)["id"]
        self.asked[json.dumps(obj["id"])].append((ours, method))  # minerd uses id 4 for every share, several in flight
        if method == "mining.authorize":
            self.users[ours] = params[0]

    def translated(self, raw: str) -> tuple[str, str | None]:
        """The row with our id, and the method it answers (None: it answers nothing, or what we never asked)."""
        obj = json.loads(raw)
        recorded = json.dumps(obj["id"])
        if "method" in obj or not self.asked[recorded]:
            return raw, None
        ours, method = self.asked[recorded].popleft()
        return re.sub(r'"id":\s*' + re.escape(recorded), f'"id":{ours}', raw), method

    def said_by_pool(self, raw: str, answers: str | None) -> m.PoolEvent:
        """What a pool's row means, read independently."""
        obj = json.loads(raw)
        if "method" in obj:
            return self.unasked(obj)
        error = obj["error"]
        if answers is None:
            return m.Refused("answer", error[1] if error else "answers no request that waits")
        match answers:
            case "mining.subscribe":
                subscriptions, extranonce1, size = obj["result"]
                return m.Subscribed(bytes.fromhex(extranonce1), size, dict(subscriptions)["mining.notify"])
            case "mining.authorize":
                return m.Authorized(accepted=True, reason=None, user=self.users[obj["id"]])
            case "mining.configure":
                return m.Configured(int(obj["result"]["version-rolling.mask"], 16))
            case "mining.submit":
                code, reason = error[:2] if error else (None, None)
                return m.SubmitAnswered(obj["id"], obj["result"] is True, code, reason)
            case _:
                return m.Answer(b"%d" % obj["id"], accepted=error is None and obj["result"] is not None)

    def unasked(self, obj: dict) -> m.PoolEvent:
        params = obj["params"]
        match obj["method"]:
            case "mining.set_difficulty":
                return m.DifficultySet(float(params[0]))
            case "mining.set_version_mask":
                return m.VersionMaskSet(int(params[0], 16))
            case "client.reconnect":
                assert params == []
                return m.ReconnectAsked(None, None, 0.0)
            case "mining.ping":
                return m.PingAsked(json.dumps(obj["id"]).encode())
            case method:
                assert method == "mining.notify"
                return expected_job(params)


def expected_job(params: list) -> m.JobReceived:
    job_id, prev_hash, coinbase1, coinbase2, branches, version, nbits, ntime, clean = params
    words = [bytes.fromhex(prev_hash[i : i + 8])[::-1] for i in range(0, 64, 8)]
    return m.JobReceived(
        job_id,
        b"".join(words),
        bytes.fromhex(coinbase1),
        bytes.fromhex(coinbase2),
        tuple(bytes.fromhex(branch) for branch in branches),
        int(version, 16),
        int(nbits, 16),
        int(ntime, 16),
        clean,
    )


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_every_row_of_a_real_pool_is_the_event_it_means(transcript: str, chunking: str) -> None:
    replays: dict[int, PoolReplay] = {}
    for row in rows_of(transcript):
        replay = replays.setdefault(row["conn"], PoolReplay())
        if row["from"] == "client":
            replay.ask(row["raw"])
            continue
        raw, answers = replay.translated(row["raw"])
        for piece in pieces(raw.encode(), chunking):
            replay.client.feed(piece)
            assert replay.client.next_event() is None
        replay.client.feed(b"\n")
        assert replay.client.next_event() == replay.said_by_pool(raw, answers)
        assert replay.client.next_event() is None


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_bursts_of_a_real_pool_give_all_their_events_at_once(transcript: str) -> None:
    replays: dict[int, PoolReplay] = {}
    burst: list[tuple[str, str | None]] = []

    def check(replay: PoolReplay) -> None:
        replay.client.feed("".join(raw + "\n" for raw, _ in burst).encode())
        assert list(iter(replay.client.next_event, None)) == [replay.said_by_pool(raw, answers) for raw, answers in burst]
        burst.clear()

    last: PoolReplay | None = None
    for row in rows_of(transcript):
        replay = replays.setdefault(row["conn"], PoolReplay())
        if last is not None and (row["from"] == "client" or replay is not last):
            check(last)
        last = replay
        if row["from"] == "client":
            replay.ask(row["raw"])
        else:
            burst.append(replay.translated(row["raw"]))
    assert last is not None
    check(last)


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_a_real_job_survives_our_own_encoder(transcript: str) -> None:
    jobs = [
        json.loads(row["raw"])["params"] for row in rows_of(transcript) if "mining.notify" in row["raw"] and "method" in row["raw"]
    ]
    received = [expected_job(params) for params in jobs if len(params) == 9]
    assert received
    for job in received:
        client = ClientConnection()
        client.feed(m.encode_notify(job.job_id, neutral(job), job.clean))
        assert client.next_event() == job


def neutral(received: m.JobReceived) -> Job:
    network_target = target_from_nbits(received.nbits)
    return Job(
        prev_hash=received.prev_hash,
        version=received.version,
        nbits=received.nbits,
        ntime=received.ntime,
        coinbase_prefix=received.coinbase1,
        coinbase_suffix=received.coinbase2,
        merkle_path=received.merkle_path,
        target=network_target,
        network_target=network_target,
        version_mask=VERSION_MASK_BIP320,
        min_ntime=received.ntime,
        max_ntime=received.ntime + 7200,
        clean=received.clean,
    )


def test_the_recorded_session_had_34_accepted_and_one_stale_share_at_the_pool_and_35_at_the_proxy() -> None:
    verdicts = {}
    for transcript in ("ckproxy-fixed_to_ckpool-lhr.jsonl", "minerd_to_ckproxy-fixed.jsonl"):
        replay = PoolReplay()
        count: Counter[tuple[bool, str | None]] = Counter()
        for row in rows_of(transcript):
            if row["from"] == "client":
                replay.ask(row["raw"])
                continue
            replay.client.feed(replay.translated(row["raw"])[0].encode() + b"\n")
            event = replay.client.next_event()
            if isinstance(event, m.SubmitAnswered):
                count[event.accepted, event.reason] += 1
        verdicts[transcript] = dict(count)
    assert verdicts == {
        "ckproxy-fixed_to_ckpool-lhr.jsonl": {(True, None): 34, (False, "Stale"): 1},
        "minerd_to_ckproxy-fixed.jsonl": {(True, None): 35},
    }
