"""What one share costs the ledger: CPU of the whole process, and the time until it is durable, at several rates.

Run it by hand: `python tests/bench/bench_ledger.py [--seconds 3] [--url URL] [--dir DIR]`. It prints one JSON line a rate. CPU
counts everything: making the record, record_share, the commit in the writer's thread, on_durable, settle and the UPDATE behind it.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import trio

from proxy import config
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import ShareRecord, ShareState

RATES = (100, 500, 2_000, 10_000)
UNITS = 920
SETTLE_AFTER = 0.05  # seconds: a pool's answer


async def offer(ledger: Ledger, rate: int, seconds: float) -> list[float]:
    """Offer `rate` shares a second in ticks of 1 ms; every share is answered by its pool a little later. Returns latencies."""
    latencies: list[float] = []

    def on_durable(tokens: list[object]) -> None:
        now_s = time.perf_counter()
        latencies.extend(now_s - token for token in tokens if isinstance(token, float))

    ledger.on_durable = on_durable
    units = [f"unit-{number:04d}" for number in range(UNITS)]
    answers: list[tuple[float, int]] = []
    began_s = time.perf_counter()
    sent = settled = 0
    while (now_s := time.perf_counter()) < began_s + seconds:
        while sent < (now_s - began_s) * rate:
            share_id = ledger.next_share_id()
            unit = units[sent % UNITS]
            record = ShareRecord(
                share_id, 1_700_000_000.0 + now_s, unit, unit, "pool", 1, "6a2f", 65536.0, 131072.0, os.urandom(16), True, False
            )
            if ledger.record_share(record, now_s):
                answers.append((now_s + SETTLE_AFTER, share_id))
            sent += 1
        while settled < len(answers) and answers[settled][0] <= now_s:
            ledger.settle(answers[settled][1], ShareState.ACCEPTED, None)
            settled += 1
        await trio.sleep(0.001)
    for _, share_id in answers[settled:]:
        ledger.settle(share_id, ShareState.ACCEPTED, None)
    await ledger.flush()
    return latencies


def cpu_s() -> float:
    """CPU of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def idle(seconds: float) -> float:
    """CPU of the same 1 ms ticks without any share, to be taken off."""
    before_s = cpu_s()
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        await trio.sleep(0.001)
    return (cpu_s() - before_s) / seconds


async def measure(url: str | None, directory: Path, seconds: float) -> None:
    """All rates on one ledger."""
    settings = config.Ledger(url=url, queue_limit=1_000_000)
    ledger = Ledger.open(settings, directory, time.time)
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        await offer(ledger, UNITS * 10, 0.2)  # every unit's names are known from here on
        base = await idle(min(seconds, 2.0))
        for rate in RATES:
            before_s = cpu_s()
            began_s = time.perf_counter()
            latencies = await offer(ledger, rate, seconds)
            took_s = time.perf_counter() - began_s
            used_s = cpu_s() - before_s - base * took_s
            quantiles = statistics.quantiles(latencies, n=100)
            line = {
                "rate": rate,
                "durable": len(latencies),
                "cpu_us_per_share": round(used_s / len(latencies) * 1e6, 1),
                "p50_ms": round(quantiles[49] * 1e3, 2),
                "p99_ms": round(quantiles[98] * 1e3, 2),
                "conservation_delta": ledger.totals().conservation_delta,
            }
            print(json.dumps(line))
        nursery.cancel_scope.cancel()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--url")
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        trio.run(measure, options.url, Path(directory), options.seconds)


if __name__ == "__main__":
    main()
