"""`reset` deletes what the cluster wrote, after a question, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.config import Config, parse
from launcher import tmux
from launcher.reset import reset

OURS = ("node-1.db", "node-1.log", "history-2", "run.log", "local-llm", "before-rescue-1")
OTHERS = ("notes.txt", "my-node-1.db")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a cluster that does not run, with files of its own and of others."""
    monkeypatch.setattr(tmux, "is_running", lambda config: False)
    config = parse('{"nodes": [{"id": 1}]}', tmp_path / "config.json", ())
    (config.data_dir / "local-llm").mkdir(parents=True)
    (config.data_dir / "local-llm" / "server.log").touch()
    for name in {*OURS, *OTHERS} - {"local-llm"}:
        (config.data_dir / name).touch()
    return config


def left(config: Config) -> set[str]:
    return {path.name for path in config.data_dir.iterdir()}


def test_only_the_clusters_own_files_are_deleted(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    reset(config, confirmed=True)
    assert left(config) == set(OTHERS)
    assert f"Deleted {len(OURS)} files" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "deleted"), [("", False), ("no", False), (" YES ", True)])
def test_it_asks_first(config: Config, answer: str, deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: answer)
    reset(config, confirmed=False)
    assert (left(config) == set(OTHERS)) == deleted and left(config) >= set(OTHERS)
