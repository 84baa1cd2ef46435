"""`./run.sh backup FILE` and `./run.sh restore FILE`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from api.client import Client
from api.errors import ClientError, Unreachable
from api.node_commands import BackupCommand, StatusCommand
from api.node_results import BackupResult
from api.sockets import socket_path
from config.config import Config
from launcher.configuration import nodes_to_start
from launcher.data_directory import claim
from launcher.errors import LaunchError
from orchestrator.memory import forget
from server import backup as backups
from storage.errors import StorageError
from storage.founding import existing_disks, found, hold_disks
from storage.ownership import name_cluster

ANSWER_WITHIN_S = 60.0
"""A large cluster's conversations take some seconds to be written."""


def back_up(config: Config, file: Path, *, force: bool) -> None:
    """Has a running node write a backup to `file`, an absolute path. Raises LaunchError."""
    try:
        result = asyncio.run(_back_up(config, file, force))
    except ClientError as error:
        raise LaunchError(str(error)) from error
    count = result.conversations
    print(f"{count} conversation{'' if count == 1 else 's'} of cluster {config.cluster} written to {result.file}.")
    if result.stale:
        print("warning: no majority was reachable: what others decided meanwhile may be missing")


def _copied(config: Config) -> str:
    return "" if config.engine.is_etcd else f" (While nothing runs, a copy of {config.data_dir} is a backup, too.)"


async def _back_up(config: Config, file: Path, force: bool) -> BackupResult:
    """By a node that knows a leader, if there is one."""
    reachable: list[Client] = []
    try:
        for number in nodes_to_start(config):
            try:
                client = await Client.connect(socket_path(config.data_dir, number))
            except Unreachable:
                continue
            reachable.append(client)
            if (await client.run(StatusCommand(), ANSWER_WITHIN_S)).leader is not None:
                break
        if not reachable:
            raise LaunchError(
                f"no node of cluster '{config.cluster}' runs here: ./run.sh starts it.{_copied(config)}"
            )
        return await reachable[-1].run(BackupCommand(str(file), force), ANSWER_WITHIN_S)
    finally:
        for client in reachable:
            await client.close()


def restore(config: Config, file: Path) -> None:
    """Makes a new cluster from a backup: its disks, or what it has in etcd. Raises LaunchError."""
    try:
        backup = backups.read(file)
        if config.engine.is_etcd:
            _restore_into_etcd(config, backup)
            return
        _require_no_disks(config)
        claim(config)
        with hold_disks(config.data_dir, config.node_ids):
            _require_no_disks(config)  # none that was made before it was held
            forget(config.data_dir)
            founded = found(config.data_dir, config.cluster, config.node_ids, backup.position, backup.rows)
            name_cluster(config.data_dir, config.cluster, founded, anew=True)
    except (backups.BackupError, StorageError) as error:
        raise LaunchError(str(error)) from error
    _tell_restored(config, backup)


def _require_no_disks(config: Config) -> None:
    """Raises LaunchError."""
    existing = existing_disks(config.data_dir)
    if existing:
        raise LaunchError(
            f"there are conversations already: {existing[0]}. A backup is restored only where there are none: set "
            'another "data_dir", or move these files away'
        )


def _restore_into_etcd(config: Config, backup: backups.Backup) -> None:
    """Raises LaunchError."""
    from launcher.etcd_cluster import restore_backup

    claim(config)
    restore_backup(config, backup)
    _tell_restored(config, backup)


def _tell_restored(config: Config, backup: backups.Backup) -> None:
    taken = time.strftime("%Y-%m-%d %H:%M", time.localtime(backup.at / 1000))
    print(f"Restored the backup of {taken} for the nodes {', '.join(map(str, config.node_ids))}; ./run.sh starts them.")
