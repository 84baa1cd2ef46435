"""A secret that the processes of one user share: the same for all, and nobody else's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.ownership import own_files
from storage.shared_secret import shared_secret


def test_all_that_draw_at_once_get_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ThreadPoolExecutor(8) as pool:
        drawn = set(pool.map(lambda _: shared_secret(folder), range(16)))
    assert len(drawn) == 1 and len(drawn.pop()) == 32
    assert [path.name for path in own_files(folder)] == ["secret"], "no draft is left, and reset deletes it"
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_may_know_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("known to everybody, as it is said")
    path.chmod(0o644)
    with pytest.raises(StorageError, match="delete it"):
        shared_secret(tmp_path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(StorageError, match="holds no secret"):
        shared_secret(tmp_path)
    path.unlink()
    (tmp_path / "elsewhere").write_text("x" * 32)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        shared_secret(tmp_path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(StorageError, match="not a file"):
        shared_secret(tmp_path)
