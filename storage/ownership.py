"""A data directory belongs to one cluster of one configuration file: its name and the file's place are in owner.json.

What else is in the directory is not this program's, and is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sqlite3
import stat
from pathlib import Path

import msgspec

from storage import lock
from storage.errors import StorageError, explain, shown
from storage.inspection import make_folder, sync_folder

_FILE = "owner.json"
_OURS = re.compile(
    r"node-\d+\.(db(\.damaged-\d+|\.new)?(-wal|-shm|-journal)?|db\.lock|sock|log)|http-\d+\.log(\.\d+)?|history-(\d+|network)"
    r"|(owner\.json|secret|http\.key)(\.[0-9a-f]{16})?|network\.(sock|json(\.new)?)|local-llm|\.restore-.+|before-rescue-\d+"
)
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_DISK = re.compile(r"(node-\d+\.db)(-.+|\..+)?")


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    cluster: str
    config: str | None
    """The path of the configuration file: from the data directory, if that is in the file's own folder, so that both
    may be moved or copied together. None if only disks tell whose the directory is."""
    cluster_id: str | None = None
    """In hexadecimal, as it is shown everywhere; None until the cluster is founded, or known here."""

    def uses(self, folder: Path, config: Path) -> bool:
        """Whether this is the file. Where the file of an owner has gone, another one of the same cluster takes over."""
        if self.config is None:
            return True
        mine = folder / self.config
        return not os.path.exists(mine) or os.path.realpath(mine) == os.path.realpath(config)


def owner_of(folder: Path) -> Owner | None:
    """Whose directory this is; None if it is nobody's yet. Raises StorageError."""
    path = folder / _FILE
    try:
        # If it is not there, or makes no sense, the disks tell.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return msgspec.convert(json.loads(path.read_bytes()), Owner)
    except OSError as error:
        raise explain(error, path) from error
    clusters = (_cluster_of(path) for path in disks(folder) if path.exists())
    return next((Owner(cluster, None) for cluster in clusters if cluster is not None), None)


def require_owner(folder: Path, cluster: str, config: Path, *, any_config: bool = False) -> None:
    """Raises StorageError if the directory is another cluster's, or that of another configuration. With `any_config` it
    may be that of another configuration of the same cluster."""
    owner = owner_of(folder)
    if owner is None or (owner.cluster == cluster and (any_config or owner.uses(folder, config))):
        return
    whose = "" if owner.config is None else f" of {os.path.normpath(folder / owner.config)}"
    raise StorageError(
        f"{folder} belongs to cluster '{shown(owner.cluster)}'{shown(whose)}, not to cluster '{cluster}' of {config}: "
        f'set another "data_dir" in {config.name}, for example "data/{config.stem}"'
    )


def claim(folder: Path, cluster: str, config: Path, *, any_config: bool = False) -> None:
    """Makes the directory this cluster's, and private. With `any_config` one of another configuration of the same
    cluster remains that one's: for a single node, whose disk is its own. Raises StorageError."""
    make_folder(folder)
    require_owner(folder, cluster, config, any_config=any_config)
    owner = owner_of(folder)
    nearby = os.path.relpath(config, folder) if config.parent in folder.parents else str(config)
    if owner is None or owner.config is None or (not any_config and owner.config != nearby):
        _write(folder, Owner(cluster, nearby, None if owner is None else owner.cluster_id))
    make_private(folder, config)


def name_cluster(folder: Path, cluster: str, cluster_id: int, *, anew: bool) -> None:
    """Notes the id of the cluster whose directory this is. `anew`: whatever id it had before. Raises StorageError."""
    owner, told = owner_of(folder), f"{cluster_id:016x}"
    if owner is None or owner.config is None or owner.cluster != cluster or owner.cluster_id == told:
        return
    if anew or owner.cluster_id is None:
        _write(folder, Owner(owner.cluster, owner.config, told))


def _write(folder: Path, owner: Owner) -> None:
    draft = folder / f"{_FILE}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(json.dumps(msgspec.to_builtins(owner)).encode() + b"\n")  # paths may have any bytes
            file.flush()
            os.fsync(descriptor)
        draft.replace(folder / _FILE)
        sync_folder(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise explain(error, folder / _FILE) from error


def own_files(folder: Path) -> list[Path]:
    """What a cluster has written into its directory. A directory of another cluster in there is not part of it."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name) and not (path / _FILE).exists())


def disks(folder: Path) -> list[Path]:
    """The path of every node's disk of which anything is there."""
    return sorted({path.with_name(match[1]) for path in own_files(folder) if (match := _DISK.fullmatch(path.name))})


def hold(folder: Path) -> contextlib.ExitStack:
    """Holds the locks of all disks that are there, until it is closed. Raises StorageLocked if a node is running."""
    return lock.hold(disks(folder))


def make_private(folder: Path, config: Path) -> None:
    """Takes files away from the eyes of other users; earlier releases let them be read. The directory, too, unless it
    holds other things: then those who may read them still may."""
    for path in own_files(folder):
        _restrict(path)
    only_ours = all(_OURS.fullmatch(path.name) or (path / _FILE).exists() for path in folder.iterdir())
    if only_ours and folder not in (config.parent, *config.parent.parents):
        _restrict(folder)


def _restrict(path: Path) -> None:
    """If it is this user's own."""
    with contextlib.suppress(FileNotFoundError, PermissionError):  # what others own is theirs to restrict
        found = path.lstat()
        theirs = stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX
        if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not theirs:
            path.chmod(found.st_mode & 0o700)


def _cluster_of(path: Path) -> str | None:
    """The name that a node's disk bears; None if it cannot be told. Touches nothing, even if a node uses it."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute("SELECT value FROM state WHERE name = 'cluster'").fetchone()
        return msgspec.json.decode(row[0], type=str) if row else None
    except (sqlite3.Error, TypeError, *_NO_JSON):
        return None
