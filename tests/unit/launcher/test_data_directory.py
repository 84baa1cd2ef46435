"""A data directory belongs to one cluster of one configuration."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from config.config import Config, ConfigError
from launcher.configuration import load, write_default
from launcher.data_directory import claim
from launcher.errors import LaunchError
from storage import ownership
from storage.database import Database
from storage.errors import StorageError

ROOT = Path(__file__).resolve().parents[3]


def configured(path: Path, **settings: object) -> Config:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"nodes": [{"id": 1}], "llm": {"provider": "fake"}, **settings}))
    return load(path)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a cluster that has been started."""
    config = configured(tmp_path / "here" / "config.json")
    claim(config)
    return config


def disk(folder: Path, cluster: str = "demo") -> None:
    Database.open(folder / "node-1.db", cluster, 1, 1).close()


def test_it_is_named_in_the_directory(config: Config) -> None:
    said = json.loads((config.data_dir / "owner.json").read_text())
    assert said == {"cluster": "demo", "config": "../config.json"}
    claim(config)
    assert json.loads((config.data_dir / "owner.json").read_text()) == said


def test_the_clusters_id_is_noted_once_and_kept_until_there_is_another_cluster(config: Config) -> None:
    def told() -> str:
        said = json.loads((config.data_dir / "owner.json").read_text())
        assert said["config"] == "../config.json"
        return str(said["cluster_id"])

    ownership.name_cluster(config.data_dir, "demo", 0xA1, anew=False)
    claim(config)
    assert told() == "00000000000000a1"
    ownership.name_cluster(config.data_dir, "demo", 0xB2, anew=False)
    ownership.name_cluster(config.data_dir, "another", 0xB2, anew=True)
    assert told() == "00000000000000a1", "a disk of another cluster decides nothing"
    ownership.name_cluster(config.data_dir, "demo", 0xB2, anew=True)
    assert told() == "00000000000000b2"
    (config.data_dir / "owner.json").unlink()
    ownership.name_cluster(config.data_dir, "demo", 0xB2, anew=True)
    assert not (config.data_dir / "owner.json").exists(), "nobody has claimed it"


def test_a_path_may_have_any_bytes(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    config = configured(folder / "config.json", data_dir=f"{tmp_path}/data")
    claim(config)
    claim(config)
    with pytest.raises(LaunchError, match="belongs to cluster 'demo' of "):
        claim(configured(tmp_path / "other.json", data_dir="data"))


def test_another_configuration_is_refused(config: Config) -> None:
    other = configured(config.path.with_name("other.json"), data_dir="data", orchestrator={"port": 7410})
    with pytest.raises(LaunchError, match=rf"{config.data_dir} belongs to cluster 'demo' of {config.path}, not to"):
        claim(other)


def test_another_cluster_is_refused(config: Config) -> None:
    with pytest.raises(LaunchError, match="belongs to cluster 'demo'"):
        claim(configured(config.path, cluster="renamed", data_dir="data"))
    with pytest.raises(StorageError, match="belongs to cluster 'demo'"):
        ownership.claim(config.data_dir, "renamed", config.path, any_config=True)


def test_a_single_node_may_have_another_configuration_of_its_cluster(config: Config) -> None:
    before = (config.data_dir / "owner.json").read_text()
    ownership.claim(config.data_dir, "demo", config.path.with_name("other.json"), any_config=True)
    assert (config.data_dir / "owner.json").read_text() == before


def test_a_moved_or_copied_folder_is_its_own(config: Config) -> None:
    copy = shutil.copytree(config.path.parent, config.path.parent.with_name("copy"))
    claim(load(copy / "config.json"))
    moved = config.path.parent.rename(config.path.parent.with_name("moved"))
    claim(load(moved / "config.json"))
    (moved / "config.json").rename(moved / "new.json")
    claim(load(moved / "new.json"))
    assert json.loads((moved / "data" / "owner.json").read_text())["config"] == "../new.json"


def test_disks_tell_where_the_word_is_missing_or_damaged(config: Config) -> None:
    disk(config.data_dir)
    (config.data_dir / "owner.json").write_text("{")
    with pytest.raises(LaunchError, match="belongs to cluster 'demo'"):
        claim(configured(config.path, cluster="renamed", data_dir="data"))
    (config.data_dir / "owner.json").unlink()
    held = Database.open(config.data_dir / "node-1.db", "demo", 1, 1)  # in use, and in WAL mode
    with pytest.raises(LaunchError, match="belongs to cluster 'demo'"):
        claim(configured(config.path, cluster="renamed", data_dir="data"))
    held.close()
    claim(configured(config.path))


def test_the_path_may_be_written_in_any_way(config: Config) -> None:
    link = config.path.parent.with_name("link")
    link.symlink_to(config.path.parent)
    claim(load(link / "config.json"))
    elsewhere = configured(config.path.with_name("far.json"), data_dir=str(link.with_name("far")))
    claim(elsewhere)
    assert json.loads((elsewhere.data_dir / "owner.json").read_text())["config"] == str(elsewhere.path)
    claim(load(link / "far.json"))


def test_where_a_file_does_not_say(tmp_path: Path) -> None:
    first = configured(tmp_path / "config.json")
    assert first.data_dir == tmp_path / "data"
    claim(first)
    other = configured(tmp_path / "other.json", cluster="other")
    assert other.data_dir == tmp_path / "data" / "other", "another cluster has a folder of its own"
    claim(other)
    assert load(first.path).data_dir == tmp_path / "data"
    shutil.rmtree(first.data_dir / "other")
    (first.data_dir / "owner.json").unlink()
    disk(first.data_dir, "other")
    assert load(other.path).data_dir == tmp_path / "data", "one that has begun here stays here"
    claim(load(other.path))
    assert load(first.path).data_dir == tmp_path / "data" / "demo"
    claim(load(first.path))
    (other.data_dir.parent / "owner.json").unlink()
    assert load(first.path).data_dir == tmp_path / "data" / "demo", "it does not move back"


def test_a_renamed_cluster_is_told_whose_the_data_are(config: Config) -> None:
    with pytest.raises(LaunchError, match="belongs to cluster 'demo'"):
        claim(configured(config.path, cluster="renamed"))


def test_a_configuration_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "config.json.example", tmp_path)
    monkeypatch.setattr("os.open", lambda *arguments: os.close(-1))
    with pytest.raises(ConfigError, match=r"config\.json cannot be written: Bad file descriptor; copy .*\.example to"):
        write_default(tmp_path / "config.json")


@pytest.mark.parametrize("disks", [False, True])
def test_a_new_configuration_has_a_secret_and_a_folder_of_its_own(tmp_path: Path, disks: bool) -> None:
    shutil.copy(ROOT / "config.json.example", tmp_path)
    if disks:
        disk(tmp_path / "data")
    write_default(tmp_path / "config.json")
    written = load(tmp_path / "config.json")
    assert written.data_dir == (tmp_path / "data" if disks else tmp_path / "data" / "demo")
    assert written.secret is not None and len(written.secret) == 32
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "config.json").unlink()
    write_default(tmp_path / "config.json")
    assert load(tmp_path / "config.json").secret != written.secret
