"""Deletes all conversations of a cluster."""

from __future__ import annotations

import os
import shutil

from config.config import Config
from launcher import foreground_record, sessions
from launcher.data_directory import require_own
from launcher.errors import LaunchError
from storage.errors import StorageError
from storage.ownership import hold, own_files


def reset(config: Config, *, confirmed: bool) -> None:
    """Asks first unless `confirmed`; stops the cluster if it is running. Deletes nothing but what this cluster wrote,
    and nothing while a node uses it. Raises LaunchError, or EOFError if nobody answers the question."""
    require_own(config)
    session = sessions.find(config.path)
    if session is not None and session.data_dir is not None and not _same(session.data_dir, config.data_dir):
        raise LaunchError(
            f"the cluster that is running has its conversations in {session.data_dir}, which {config.path} does not "
            "name any more: ./run.sh stop stops it"
        )
    if not confirmed:
        where = f"etcd, below {config.engine.prefix}" if config.engine.is_etcd else config.data_dir
        question = f"This deletes all conversations of cluster '{config.cluster}' in {where}. Type yes: "
        if input(question).strip().lower() != "yes":
            print("Nothing was deleted.")
            return
    foreground_record.stop(config.path)
    if session is not None:
        sessions.stop(session)
    if config.engine.is_etcd:
        from launcher.etcd_cluster import erase_conversations

        print(f"Deleted {erase_conversations(config)} keys in etcd.")
    try:
        with hold(config.data_dir):
            deleted = _delete(config)
    except StorageError as error:
        raise LaunchError(f"nothing was deleted: {error}") from error
    print(f"Deleted {deleted} files in {config.data_dir}.")


def _delete(config: Config) -> int:
    """Locks go last: until then, no node starts with half of its files."""
    found = sorted(own_files(config.data_dir), key=lambda path: path.suffix == ".lock")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def _same(first: os.PathLike[str], second: os.PathLike[str]) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)
