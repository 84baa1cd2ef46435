"""`./run.sh rescue [N]`: a new cluster from what one node of a lost one still has, when a majority of disks is gone."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from config.config import Config
from engine.stored_state import StoredState, stored_state
from launcher.data_directory import claim
from launcher.errors import LaunchError
from orchestrator.memory import forget
from storage.database import Database
from storage.errors import StorageError, StorageLocked
from storage.founding import existing_disks, found, hold_disks
from storage.inspection import sync_folder
from storage.ownership import name_cluster

KEPT: Final = "before-rescue-"
"""The former files are moved into a folder of this name."""

_DISK: Final = re.compile(r"node-(\d+)\.db")


class _Survivor(msgspec.Struct, frozen=True):
    node: int
    state: StoredState

    @property
    def cluster(self) -> int:
        return 0 if self.state.configuration is None else self.state.configuration.cluster


def rescue(config: Config, node: int | None) -> None:
    """Founds the cluster anew from the disk of `node`; from the one that holds most, if None. Nothing is deleted.
    Raises LaunchError."""
    if config.engine.is_etcd:
        raise LaunchError("rescue is for the embedded engine: on etcd, the nodes' disks hold no conversations")
    claim(config)
    folder = config.data_dir
    with ExitStack() as held:
        survivors, unusable = _survivors(config, held)
        chosen = _choice(survivors, unusable, node, folder)
    with _hold(config):  # now against nodes that are started meanwhile
        kept = _free_name(folder)
        forget(folder)
        try:
            position, rows = chosen.state.position, chosen.state.store.snapshot()
            clear = partial(_set_aside, folder, kept)
            founded = found(folder, config.cluster, config.node_ids, position, rows, clear)
            name_cluster(folder, config.cluster, founded, anew=True)
        except (StorageError, OSError) as error:
            raise LaunchError(f"{error}; the former files are in {folder} or {kept}") from error
    print(_report(config, chosen, kept))


def _survivors(config: Config, held: ExitStack) -> tuple[list[_Survivor], dict[int, str]]:
    """What the nodes' disks hold, and why others cannot be read. All of them stay closed to nodes until `held` ends.
    Raises LaunchError if a node runs."""
    survivors: list[_Survivor] = []
    unusable: dict[int, str] = {}
    for node, path in _disks(config.data_dir).items():
        try:
            database = Database.open(path, config.cluster, node, time.time_ns() // 1000)
            held.callback(database.close)
            survivors.append(_Survivor(node, stored_state(database, accepted=True)))
        except StorageLocked as locked:
            raise LaunchError(f"node {node} is running: stop all nodes first (./run.sh stop). {locked}") from locked
        except StorageError as error:
            unusable[node] = str(error)
    return survivors, unusable


def _choice(survivors: Sequence[_Survivor], unusable: dict[int, str], node: int | None, folder: Path) -> _Survivor:
    """Raises LaunchError."""
    if node is not None:
        for survivor in survivors:
            if survivor.node == node:
                return survivor
        raise LaunchError(unusable.get(node, f"there are no data of node {node} in {folder}"))
    if not survivors:
        why = " ".join(unusable.values()) or f"there are no data of any node in {folder}"
        raise LaunchError(f"{why}. (Earlier files may be in {folder}/{KEPT}1: moved back, they can be used again)")
    if len({survivor.cluster for survivor in survivors if survivor.cluster}) > 1:
        each = "; ".join(f"node {one.node}: {_contents(one.state)}" for one in survivors)
        raise LaunchError(f"these disks are of several clusters: say whose data count, ./run.sh rescue N. {each}")
    return max(survivors, key=lambda survivor: (survivor.state.position, -survivor.node))


def _disks(folder: Path) -> dict[int, Path]:
    """By node."""
    named = ((_DISK.fullmatch(path.name), path) for path in folder.glob("node-*.db"))
    return dict(sorted((int(match[1]), path) for match, path in named if match))


def _hold(config: Config) -> ExitStack:
    """Raises LaunchError."""
    try:
        return hold_disks(config.data_dir, config.node_ids)
    except StorageError as error:
        raise LaunchError(f"{error}. Nothing was changed") from error


def _free_name(folder: Path) -> Path:
    number = 1
    while (folder / f"{KEPT}{number}").exists():
        number += 1
    return folder / f"{KEPT}{number}"


def _set_aside(folder: Path, kept: Path) -> None:
    kept.mkdir(mode=0o700)
    for path in existing_disks(folder):
        path.rename(kept / path.name)
    sync_folder(kept)
    sync_folder(folder)


def _contents(state: StoredState) -> str:
    count = len(state.store.conversations)
    return f"{count} conversation{'' if count == 1 else 's'}, up to operation {state.position}"


def _report(config: Config, chosen: _Survivor, kept: Path) -> str:
    nodes = ", ".join(map(str, config.node_ids))
    lines = [
        f"Founded a new cluster '{config.cluster}' of nodes {nodes} from the data of node {chosen.node}: "
        f"{_contents(chosen.state)}.",
        f"What was decided without node {chosen.node} after that is not in it, even if it was acknowledged.",
    ]
    if chosen.state.accepted_only:
        lines.append(
            f"The last {chosen.state.accepted_only} of these operations had been accepted by node {chosen.node}; that "
            "they were decided it had not stored, and they are in."
        )
    lines += [
        f"All former files are kept in {kept}. Nodes that still have disks of the lost cluster are refused.",
        "./run.sh starts the new one.",
    ]
    return "\n".join(lines)
