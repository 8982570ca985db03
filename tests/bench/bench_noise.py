"""What encryption costs: handshakes in both roles, sealed frames against bare copies, memory of an idle connection. Prints ratios.

    python tests/bench/bench_noise.py

The floor of a handshake is its two key agreements and one new key, by the same library; the floor of a frame is sealing its two
blocks with cipher objects that exist already. Figures are CPU time of this thread, medians of seven rounds.
"""

import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.v2 import secp256k1
from protocol.v2.header import CHANNEL_BIT, pack_header
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import new_authority_key, new_noise_key
from protocol.v2.noise import Initiator, Responder, Session
from protocol.v2.secp256k1 import Party
from protocol.v2.transport import FrameTransport, NoiseTransport, PlainTransport

HANDSHAKES = 200
FRAMES = 5_000
CONNECTIONS = 5_000
ROUNDS = 7
SHARE, JOB = 24, 1_000
RESPONDER_GOAL_US = 250


def cpu_us(times: int, work: Callable[[], object]) -> float:
    """Median CPU time of one of `times`, in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        work()
        rounds.append((time.thread_time() - begun) / times * 1e6)
    return statistics.median(rounds)


def limit(extension_type: int, message_type: int) -> int:
    """Everything may come."""
    return 0xFFFFFF


def main() -> None:
    """Time each part and print the tables."""
    authority = new_authority_key(os.urandom)
    server = ServerIdentity.self_signed(new_noise_key(os.urandom), authority, os.urandom, time.time())
    handshakes(server)
    for name, size in (("share, 24 B", SHARE), ("job, 1 kB", JOB)):
        frames(server, name, size)
    memory(server)


def pair(server: ServerIdentity) -> tuple[Session, Session]:
    """(client's, server's) session."""
    initiator = Initiator(server.authority_x, os.urandom)
    answer, session = Responder(server.static, server.certificate_wire, os.urandom).receive(initiator.first_message())
    return initiator.receive(answer, time.time()), session


def handshakes(server: ServerIdentity) -> None:
    """Both roles against the curve operations that each cannot do without."""
    key = new_noise_key(os.urandom)
    firsts = [Initiator(server.authority_x, os.urandom) for _ in range(HANDSHAKES)]
    first = firsts[0].first_message()

    def floor() -> None:
        for _ in range(HANDSHAKES):
            secp256k1.encode_ellswift(key.secret, first[:32])
            secp256k1.shared_secret(first, key.ellswift, key.secret, Party.RESPONDER)
            secp256k1.shared_secret(first, key.ellswift, key.secret, Party.RESPONDER)

    def respond() -> None:
        for _ in range(HANDSHAKES):
            Responder(server.static, server.certificate_wire, os.urandom).receive(first)

    def initiate() -> float:
        spent = 0.0
        for _ in range(HANDSHAKES):
            begun = time.thread_time()
            initiator = Initiator(server.authority_x, os.urandom)
            message = initiator.first_message()
            spent += time.thread_time() - begun
            answer, _ = Responder(server.static, server.certificate_wire, os.urandom).receive(message)
            begun = time.thread_time()
            initiator.receive(answer, time.time())
            spent += time.thread_time() - begun
        return spent / HANDSHAKES * 1e6

    base = cpu_us(HANDSHAKES, floor)
    responder = cpu_us(HANDSHAKES, respond)
    initiator = statistics.median(initiate() for _ in range(ROUNDS))
    print(f"{'handshake; floor: one new key, two agreements':52} {base:8.1f} us   1.00")
    print(f"{'server role, certificate signed before':52} {responder:8.1f} us   {responder / base:.2f}")
    print(f"{'client role, certificate verified':52} {initiator:8.1f} us   {initiator / base:.2f}")
    print(f"server role against the goal of {RESPONDER_GOAL_US} us: {responder / RESPONDER_GOAL_US:.2f}")
    print(f"1,000 units at once: {responder / 1e3:.2f} s of one core")


def frames(server: ServerIdentity, name: str, size: int) -> None:
    """Seal and open frames of one size, against two existing ciphers and against the plain transport."""
    frame = pack_header(CHANNEL_BIT, 0x1A, size) + bytes(size)
    kept = ChaCha20Poly1305(bytes(32))

    def floor() -> None:
        for _ in range(FRAMES):
            kept.encrypt(bytes(12), frame[:6], b"")
            kept.encrypt(bytes(12), frame[6:], b"")

    base = cpu_us(FRAMES, floor)
    print(f"\n{name + '; floor: two blocks by the library':52} {base:8.2f} us   1.00")
    for kind in ("noise", "plain"):
        sender, receiver = _ends(server, kind)

        def seal(sender: FrameTransport = sender) -> None:
            for _ in range(FRAMES):
                sender.seal(frame)

        rounds = []
        for _ in range(ROUNDS):
            wires = [sender.seal(frame) for _ in range(FRAMES)]
            begun = time.thread_time()
            for wire in wires:
                receiver.feed(wire)
                while receiver.next_frame() is not None:
                    pass
            rounds.append((time.thread_time() - begun) / FRAMES * 1e6)
        opened = statistics.median(rounds)
        sealed = cpu_us(FRAMES, seal)
        for verb, cost in (("seal", sealed), ("open, one frame a packet", opened)):
            print(f"{f'{kind}: {verb}':52} {cost:8.2f} us   {cost / base:.2f}   {1e6 / cost:10,.0f} frames/s")


def _ends(server: ServerIdentity, kind: str) -> tuple[FrameTransport, FrameTransport]:
    if kind == "plain":
        return PlainTransport(limit), PlainTransport(limit)
    client, session = pair(server)
    return NoiseTransport(client, limit), NoiseTransport(session, limit)


def memory(server: ServerIdentity) -> None:
    """An idle connection that has talked, as Python allocated it; and what keeping the library's cipher objects would add."""
    frame = pack_header(CHANNEL_BIT, 0x1A, SHARE) + bytes(SHARE)
    held: list[NoiseTransport | None] = [None] * CONNECTIONS
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for place in range(CONNECTIONS):
        client, session = pair(server)
        transport = held[place] = NoiseTransport(session, limit)
        transport.feed(NoiseTransport(client, limit).seal(frame))
        while transport.next_frame() is not None:
            pass
        transport.seal(frame)
    each = (tracemalloc.get_traced_memory()[0] - before) / CONNECTIONS
    tracemalloc.stop()
    resident = _resident_bytes()
    kept = [(ChaCha20Poly1305(os.urandom(32)), ChaCha20Poly1305(os.urandom(32))) for _ in range(CONNECTIONS)]
    more = (_resident_bytes() - resident) / len(kept)
    print(f"\nidle connection: {each:.0f} B   1.00; with two cipher objects kept: {each + more:.0f} B   {(each + more) / each:.1f}")


def _resident_bytes() -> int:
    """Of this process, as Linux tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
