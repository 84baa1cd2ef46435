"""A cluster whose engine is etcd: its nodes' engines, and what is done to it while they are stopped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from config.config import Config
from engine.etcd.client import Access, EtcdClient, EtcdError
from engine.etcd.engine import EtcdEngine
from engine.etcd.founding import InUse, erase, restore
from launcher.errors import LaunchError
from launcher.etcd_tls import EtcdContexts
from launcher.node_engine import NodeEngine, disk_path, take_over
from paxos.limits import Limits
from server.backup import Backup
from storage.errors import StorageError
from storage.founding import existing_disks
from storage.lock import Lock
from storage.ownership import claim, name_cluster, owner_of

T = TypeVar("T")

LIMITS = Limits(snapshot_every=20_000)
"""Snapshots of this engine share etcd's disks with the operations, and all rows pass the network: they are rarer."""
WITHIN_S = 60.0
"""What is done while the cluster is stopped; a large backup takes some seconds."""


def prepare(config: Config, number: int, background: bool) -> Callable[[], NodeEngine]:
    """As `node_engine.prepare`: what is held is the lock that keeps a second process of the node from running."""
    require_no_disks(config)
    access = access_of(config)
    claim(config.data_dir, config.cluster, config.path, any_config=True)
    lock = take_over(number, background, lambda: Lock(disk_path(config, number), background))
    owner = owner_of(config.data_dir)
    known = None if owner is None else owner.cluster_id

    def make() -> NodeEngine:
        engine = EtcdEngine(
            number, config.node_ids, config.cluster, known, lambda cluster_id: _note(config, cluster_id),
            lambda changed: EtcdClient(access, changed), prefix_of(config), LIMITS,
            compact_history=config.engine.compact_history, release=lock.release,
        )
        return NodeEngine(engine)

    return make


def require_no_disks(config: Config) -> None:
    """Raises LaunchError if the data directory holds conversations of the embedded engine, which would seem lost."""
    disks = existing_disks(config.data_dir)
    if disks:
        raise LaunchError(
            f"{config.data_dir} holds conversations of the embedded engine ({disks[0].name}): set another \"data_dir\" "
            "for etcd. `./run.sh backup` with the old configuration and `./run.sh restore` with the new one move them"
        )


def prefix_of(config: Config) -> str:
    assert config.engine.prefix is not None, "a checked configuration has one"
    return config.engine.prefix


def access_of(config: Config) -> Access:
    """Raises LaunchError for a password or files that are not there."""
    engine, password = config.engine, ""
    if engine.password_env is not None:
        found = os.environ.get(engine.password_env)
        if not found:
            raise LaunchError(
                f"the environment variable {engine.password_env} is not set: \"engine\" in {config.path} names it for "
                f"the password of etcd's user {engine.user}"
            )
        password = found
    endpoints = tuple(endpoint.rstrip("/") for endpoint in engine.endpoints)
    tls = None if all(endpoint.startswith("http:") for endpoint in endpoints) else EtcdContexts(config)
    return Access(endpoints, tls, engine.user, password)


def restore_backup(config: Config, backup: Backup) -> str:
    """Founds the cluster with what is in a backup. Returns its id. Raises LaunchError."""
    require_no_disks(config)
    cluster_id = _run(config, lambda client: restore(
        client, prefix_of(config), config.cluster, config.node_ids, backup.position, backup.rows
    ))
    _note(config, cluster_id, anew=True)
    return cluster_id


def erase_conversations(config: Config) -> int:
    """Deletes all that the cluster has in etcd; returns how many keys. Raises LaunchError, also if a node runs."""
    return _run(config, lambda client: erase(client, prefix_of(config)))


def _note(config: Config, cluster_id: str, anew: bool = False) -> None:
    name_cluster(config.data_dir, config.cluster, int(cluster_id, 16), anew=anew)


def _run(config: Config, work: Callable[[EtcdClient], Awaitable[T]]) -> T:
    """Raises LaunchError."""
    access = access_of(config)

    async def run() -> T:
        client = EtcdClient(access)
        try:
            async with asyncio.timeout(WITHIN_S):
                return await work(client)
        except TimeoutError:
            raise LaunchError(f"not done within {WITHIN_S:.0f} s: {client.trouble or 'etcd is too slow'}") from None
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    except (InUse, EtcdError, StorageError) as error:
        raise LaunchError(str(error)) from error
