"""A whole cluster's conversations as one file, exactly as they are: with their candidates, choices, votes and times.

The file: a line that names the format and its version, the SHA-256 of what follows, and the Backup as MessagePack.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from config.files import UnusableFile, read_whole, require_replaceable, shown_path
from kvstore.store import Store

HEAD: Final = b"ConsensusLLM backup 1\n"
_FAMILY: Final = b"ConsensusLLM backup "
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class BackupError(Exception):
    """Says in a sentence why a backup cannot be written or read."""


class Backup(msgspec.Struct, frozen=True):
    position: int
    """Of the last operation that is in it."""
    at: int
    """When it was taken, in milliseconds since 1970."""
    rows: list[tuple[bytes, bytes]]
    """As `Store.snapshot` gives them, and `Store.load` takes them."""


def write(path: Path, backup: Backup, force: bool) -> None:
    """Whole or not at all, durable, and for nobody else to read. Overwrites a file only with `force`. Raises
    BackupError."""
    body = msgspec.msgpack.encode(backup)
    try:
        require_replaceable(path, force)
        descriptor, temporary = tempfile.mkstemp(prefix=".backup-", dir=path.parent)  # of mode 600
        try:
            with open(descriptor, "wb") as file:
                file.write(HEAD + hashlib.sha256(body).digest() + body)
                file.flush()
                _sync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            _sync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise BackupError(f"there is a file {shown_path(path)} already: --force overwrites it") from None
    except UnusableFile as error:
        raise BackupError(f"cannot write {shown_path(path)}: {error}") from error
    except OSError as error:
        raise BackupError(f"cannot write {shown_path(path)}: {error.strerror or error}") from error


def _sync(file: int) -> None:
    """On macOS, fsync alone stops short of the disk's own cache."""
    os.fsync(file)
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):  # a file system that can do no more
            fcntl.fcntl(file, full)


def read(path: Path) -> Backup:
    """Checks all of it. Raises BackupError."""
    try:
        content = read_whole(path)
    except UnusableFile as error:
        raise BackupError(f"cannot read {shown_path(path)}: {error}") from error
    if not content.startswith(_FAMILY):
        raise BackupError(f"{shown_path(path)} is no backup")
    if not content.startswith(HEAD):
        version = content[len(_FAMILY) :].split(b"\n")[0][:20].decode("ascii", "replace")
        raise BackupError(f"{shown_path(path)} is a backup of format {version}; this program knows format 1")
    digest, body = content[len(HEAD) :][:_DIGEST_BYTES], content[len(HEAD) + _DIGEST_BYTES :]
    if hashlib.sha256(body).digest() != digest:
        raise BackupError(f"{shown_path(path)} is damaged: its checksum is wrong")
    try:
        backup = msgspec.msgpack.decode(body, type=Backup)
        Store().load(backup.rows)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BackupError(f"{shown_path(path)} holds something that this version does not know: {error}") from error
    return backup
