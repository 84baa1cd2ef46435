"""`reset` deletes what the cluster wrote, after a question, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from config.config import Config, parse
from launcher import __main__ as launcher
from launcher import foreground_record, sessions, stop
from launcher.data_directory import claim
from launcher.errors import LaunchError
from launcher.reset import reset
from storage.database import Database

OURS = (
    "node-1.log", "history-2", "history-network", "node-2.db.damaged-1", "local-llm", "before-rescue-1", "network.json",
    "network.json.new", "secret", "secret.0123456789abcdef", "http.key", "node-2.db.damaged-1-wal", "node-3.db-shm",
    "node-3.db.lock", "node-3.db.new", "node-3.db.new-journal", "http-1.log", "http-1.log.1",
)
OTHERS = (
    "notes.txt", "my-node-1.db", "run.log", "node-1.txt", "history-of-rome", "secret.txt", "secret.of.mine",
    "http.key.bak", "node-1.db.bak", "node-1.db~", "network.json.bak", "owner.json.old", "network.sock.old",
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a cluster that does not run, with files of its own and of others."""
    monkeypatch.setattr(sessions, "find", lambda config: None)
    config = configured(tmp_path / "config.json")
    (config.data_dir / "local-llm").mkdir(parents=True)
    (config.data_dir / "local-llm" / "server.log").touch()
    for name in {*OURS, *OTHERS} - {"local-llm"}:
        (config.data_dir / name).touch()
    Database.open(config.data_dir / "node-1.db", config.cluster, 1, 1).close()
    return config


def configured(path: Path, **settings: object) -> Config:
    path.write_text(json.dumps({"nodes": [{"id": 1}, {"id": 2}], **settings}))
    return parse(path.read_text(), path, ())


def left(config: Config) -> set[str]:
    return {path.name for path in config.data_dir.iterdir()}


def test_only_the_clusters_own_files_are_deleted(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    reset(config, confirmed=True)
    assert left(config) == set(OTHERS)
    assert f"Deleted {len(OURS) + 3} files" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["start", "--no-tmux", "reset", "stop"])
def test_no_word_is_ignored_that_may_mean_another_cluster(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(foreground_record, "stop", lambda config: pytest.fail("something is stopped"))
    monkeypatch.setattr(launcher, "configuration", lambda: pytest.fail("it begins"))
    monkeypatch.setattr(launcher, "_start", lambda: pytest.fail("it starts"))
    words = ["--config", "other.json"]
    assert (stop.main(words) if command == "stop" else launcher.main([command, *words])) == 2
    assert "run.sh: '--config' is not understood here" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "deleted"), [("", False), ("no", False), (" YES ", True)])
def test_it_asks_first(config: Config, answer: str, deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: answer)
    reset(config, confirmed=False)
    assert (left(config) == set(OTHERS)) == deleted and left(config) >= set(OTHERS)


@pytest.mark.parametrize("claimed", [True, False])
def test_another_configuration_deletes_nothing(config: Config, claimed: bool) -> None:
    """Neither where the directory says whose it is, nor where release 0.1.0 has left it."""
    if claimed:
        claim(config)
    before = left(config)
    other = configured(config.path.with_name("other.json"), data_dir="data")
    with pytest.raises(LaunchError, match=r'data belongs to .* of .*config\.json.*: set another "data_dir"'):
        reset(other, confirmed=True)
    assert left(config) == before


def test_another_cluster_deletes_nothing(config: Config) -> None:
    other = configured(config.path.with_name("other.json"), data_dir="data", cluster="other")
    config.path.unlink()
    before = left(config)
    with pytest.raises(LaunchError, match="data belongs to cluster 'demo', not to cluster 'other'"):
        reset(other, confirmed=True)
    assert left(config) == before


def test_what_a_running_node_uses_is_not_deleted(config: Config) -> None:
    before = left(config)
    database = Database.open(config.data_dir / "node-2.db", config.cluster, 2, 1)
    with pytest.raises(LaunchError, match=r"nothing was deleted: .*node-2\.db is in use by process"):
        reset(config, confirmed=True)
    assert left(config) > before
    database.close()
    reset(config, confirmed=True)
    assert left(config) == set(OTHERS)


def test_what_was_started_counts_not_what_the_file_says_now(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    running = sessions.Session("consensus", config.data_dir.with_name("elsewhere"), ())
    monkeypatch.setattr(sessions, "find", lambda config: running)
    monkeypatch.setattr(sessions, "stop", lambda session: pytest.fail("it goes on"))
    before = left(config)
    with pytest.raises(LaunchError, match=r"has its conversations in .*elsewhere"):
        reset(config, confirmed=True)
    assert left(config) == before


def test_a_cluster_in_a_folder_within_is_another_one(config: Config) -> None:
    inner = configured(config.path.with_name("inner.json"), data_dir="data/local-llm", cluster="inner")
    claim(inner)
    reset(config, confirmed=True)
    assert left(config) == {*OTHERS, "local-llm"} and (inner.data_dir / "owner.json").exists()


def test_there_may_be_nothing_to_delete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path / "config.json")
    reset(config, confirmed=True)
    assert "Deleted 0 files" in capsys.readouterr().out and not os.path.exists(config.data_dir)
