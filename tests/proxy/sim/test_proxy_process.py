"""Starting, watching and ending a child process. Real processes, for there is no other way."""

import os
import signal
from pathlib import Path

import pytest
import trio

from proxy.sim.proxy_process import ProxyDiedError, ProxyProcess, read_usage
from tests.support.patience import PATIENCE_S


def test_usage_of_a_living_process_is_read_and_of_no_process_is_unknown() -> None:
    usage = read_usage(os.getpid())
    assert usage is not None
    assert usage.cpu_s > 0
    assert usage.rss_mb > 1
    assert read_usage(2**22 + 1) is None


@pytest.mark.slow
async def test_a_proxy_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = ProxyProcess(tmp_path / "missing.toml", tmp_path / "proxy.log")
    await process.start()
    with trio.fail_after(PATIENCE_S):
        while process.is_running:
            await trio.sleep(0.05)
    with pytest.raises(ProxyDiedError, match=r"(?s)exit code 78.*missing\.toml.*whole log: .*proxy\.log"):
        process.check()
    assert await process.stop() == 78


async def test_a_process_that_was_never_started_has_nothing_to_stop(tmp_path: Path) -> None:
    process = ProxyProcess(tmp_path / "site.toml", tmp_path / "proxy.log")
    process.check()
    assert (process.is_running, process.usage(), await process.stop()) == (False, None, None)


@pytest.mark.slow
async def test_a_process_that_ignores_the_polite_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text("import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr("proxy.sim.proxy_process.END_TIMEOUT_S", 0.2)
    process = ProxyProcess(tmp_path / "site.toml", tmp_path / "proxy.log", command=("deaf.py",))
    await process.start()
    with trio.fail_after(PATIENCE_S):
        while "up" not in process.last_words():
            await trio.sleep(0.02)
    assert process.is_running
    assert await process.stop() == -signal.SIGKILL
    assert not process.is_running
