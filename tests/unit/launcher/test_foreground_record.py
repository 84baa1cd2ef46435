"""The record of a cluster that runs without tmux."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from launcher.errors import LaunchError
from launcher.foreground_record import recorded, stop


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_one_cluster_of_a_file_runs_at_a_time(temporary: Path) -> None:
    config = temporary / "config.json"
    assert not stop(config), "none has ever run"
    with recorded(config):
        with pytest.raises(LaunchError, match="already running"), recorded(config):
            pass
        with recorded(temporary / "other.json"):
            pass
    assert not stop(config), "it has ended"
    records = list((temporary / f"consensusllm-{os.getuid()}").iterdir())
    assert len(records) == 2 and not any(record.stat().st_mode & 0o77 for record in records)


def test_where_nothing_can_be_written_it_runs_all_the_same(
    temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = temporary / f"consensusllm-{os.getuid()}"
    folder.write_text("not a folder")
    ran = False
    with recorded(temporary / "config.json"):
        ran = True
    said = capsys.readouterr().err
    assert ran and said.startswith("run.sh: ./run.sh stop will not find this cluster: ") and said.count("\n") == 1


def test_a_folder_that_others_can_write_to_is_not_trusted_and_holds_up_nobody(temporary: Path) -> None:
    config = temporary / "config.json"
    folder = temporary / f"consensusllm-{os.getuid()}"
    with recorded(config):
        folder.chmod(0o777)
        assert not stop(config), "anybody may have put any process there"
