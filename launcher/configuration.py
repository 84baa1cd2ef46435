"""Where a command's configuration comes from."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import config.config
from config.config import Config, ConfigError
from launcher import data_directory
from launcher.paths import DEFAULT_CONFIG, config_path
from llm import registry
from orchestrator.memory import remembered
from storage import ownership

SECRET_BYTES = 24


def load(path: Path | str) -> Config:
    """Reads and checks a configuration file. Raises ConfigError."""
    return config.config.load(path, registry.names(), data_directory.default)


def require_node(config: Config, number: int) -> None:
    """Raises ConfigError if there is no such node: none that the file lists, none that has a disk, and no member."""
    members = remembered(config.data_dir, config.cluster).members
    if number not in members and not (config.data_dir / f"node-{number}.db").exists():
        config.require(number)


def nodes_to_start(config: Config) -> list[int]:
    """The members, as far as they are known here, or else the nodes that the file lists. On etcd, those."""
    if config.engine.is_etcd:
        return config.node_ids
    return list(remembered(config.data_dir, config.cluster).members) or config.node_ids


def configuration() -> Config:
    """The configuration named by CONFIG, else config.json, which is made from the example if there is none.

    Raises ConfigError.
    """
    path = config_path()
    if path == DEFAULT_CONFIG and not path.exists():
        write_default(path)
    return load(path)


def write_default(path: Path) -> None:
    """Makes a configuration of the example, with a secret of its own. Raises ConfigError."""
    example = path.with_name(f"{path.name}.example")
    drawn = json.dumps(secrets.token_urlsafe(SECRET_BYTES))
    text = example.read_text("utf-8").replace('"secret": null', f'"secret": {drawn}')
    if ownership.disks(path.parent / "data"):  # of a cluster whose configuration is lost
        text = text.replace('"data_dir": "data/demo"', '"data_dir": "data"')
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; copy {example} to where you may write, and run "
            "CONFIG=that-file ./run.sh"
        ) from error
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    print(f"Wrote {path.name} from {example.name}, with a secret of its own.")
