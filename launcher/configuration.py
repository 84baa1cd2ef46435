"""Where a command's configuration comes from."""

from __future__ import annotations

import os
from pathlib import Path

import config.config
from config.config import DEFAULT_PATH, Config
from launcher.arguments import ROOT
from llm import registry
from orchestrator.memory import remembered


def load(path: Path | str) -> Config:
    """Reads and checks a configuration file. Raises ConfigError."""
    return config.config.load(path, registry.registrations().keys())


def require_node(config: Config, number: int) -> None:
    """Raises ConfigError if there is no such node: none that the file lists, none that has a disk, and no member."""
    members = remembered(config.data_dir, config.cluster).members
    if number not in members and not (config.data_dir / f"node-{number}.db").exists():
        config.require(number)


def nodes_to_start(config: Config) -> list[int]:
    """The members, as far as they are known here, or else the nodes that the file lists."""
    return list(remembered(config.data_dir, config.cluster).members) or config.node_ids


def configuration() -> Config:
    """The configuration named by CONFIG, else config.json, which is made from the example if there is none.

    Raises ConfigError.
    """
    path = Path(os.environ.get("CONFIG") or ROOT / DEFAULT_PATH)
    example = ROOT / f"{DEFAULT_PATH}.example"
    if path == ROOT / DEFAULT_PATH and not path.exists():
        path.touch(mode=0o600)  # it may later contain keys
        path.write_text(example.read_text())
        print(f"Wrote {path.name} from {example.name}.")
    return load(path)
