"""How fast Stratum V2 messages are read and written, against construct interpreting the same declaration. Prints, asserts nothing.

    python tests/bench/bench_sv2_codec.py

Figures are of this thread's CPU time, through the public functions (look-up included), medians of seven rounds.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol.v2.codec import decode_payload, encode_frame, encode_payload
from protocol.v2.layouts import LAYOUT_BY_CLASS
from protocol.v2.messages.base import Message
from protocol.v2.messages.mining import NewExtendedMiningJob, SubmitSharesExtended, SubmitSharesSuccess
from protocol.v2.tlv import user_identity_tlv

ROUNDS = 7
ROUND_S = 0.05

MESSAGES: list[Message] = [
    SubmitSharesExtended(1, 2, 3, 4, 5, 0x20000000, bytes(8)),
    SubmitSharesSuccess(1, 2, 3, 4),
    NewExtendedMiningJob(1, 2, None, 0x20000000, True, (bytes(32),) * 12, bytes(110), bytes(64)),
]


def per_second(work: Callable[[], object]) -> float:
    """Calls a second; the number of calls of a round is found first."""
    calls = 1
    while _seconds(work, calls) < ROUND_S:
        calls *= 2
    return statistics.median(calls / _seconds(work, calls) for _ in range(ROUNDS))


def _seconds(work: Callable[[], object], calls: int) -> float:
    begun = time.thread_time()
    for _ in range(calls):
        work()
    return time.thread_time() - begun


def compare(message: Message) -> None:
    """Print the lines of one message: reading and writing."""
    layout = LAYOUT_BY_CLASS[type(message)]
    declared = layout.construct
    payload = encode_payload(message)
    fields = {name: getattr(message, name) for name, _ in layout.fields}
    extension_type, message_type = layout.wire_extension_type, layout.message_type
    for verb, slow, fast in [
        ("read", lambda: declared.parse(payload), lambda: decode_payload(extension_type, message_type, payload)),
        ("write", lambda: declared.build(fields), lambda: encode_payload(message)),
    ]:
        before, after = per_second(slow), per_second(fast)
        print(f"{layout.name:22} {len(payload):6} {verb:6} {before:12,.0f} {after:12,.0f} {after / before:6.1f}x")


def main() -> None:
    """Time both codecs on each message."""
    print(f"{'message':22} {'bytes':>6} {'':6} {'construct/s':>12} {'generated/s':>12} {'ratio':>7}")
    for message in MESSAGES:
        compare(message)
    share, identity = MESSAGES[0], user_identity_tlv("hall-1.unit-0042")
    print(f"a share as a frame with its worker's name: {per_second(lambda: encode_frame(share, [identity])):,.0f}/s")


if __name__ == "__main__":
    main()
