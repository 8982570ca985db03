"""Who may read a file with a secret."""

from pathlib import Path

import pytest

from proxy.private_file import exposed


@pytest.mark.parametrize(("mode", "is_private"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o610, False)])
def test_only_the_owner_may_read_write_or_run_it(tmp_path: Path, mode: int, is_private: bool) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(mode)
    problem = exposed(path)
    if is_private:
        assert problem is None
    else:
        assert problem == f"{path} can be read by others (mode {mode:04o}); chmod 600 {path}"


def test_a_file_that_is_not_there_is_no_private_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exposed(tmp_path / "nothing")
