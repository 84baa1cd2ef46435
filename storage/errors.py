"""What can go wrong with the disk, in sentences for users."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path


class StorageError(Exception):
    """The disk cannot be used; the message says why and what to do. Whoever gets this must stop voting."""


class StorageFull(StorageError):
    """Nothing more can be written: no space left, or the device fails."""


class StorageDamaged(StorageError):
    """What is on the disk is not what was written there. What was promised may be lost: this disk must not vote.

    `detail` says what is damaged. `certain` is false if it may also be this program that does not understand what it
    reads.
    """

    def __init__(self, path: Path, detail: str, certain: bool) -> None:
        super().__init__(
            f"{path} is damaged ({detail}); it was left as it is. Once it is moved away the node begins with an empty "
            "disk, as after the loss of a disk"
        )
        self.path = path
        self.detail = detail
        self.certain = certain


class StorageLocked(StorageError):
    """Another process uses the file.

    `os_pid` is its process id, None if it could not be told (it has only just started). `background` is true if it
    said that it runs in the background, so that a user's own process may ask it to leave.
    """

    def __init__(self, message: str, os_pid: int | None, background: bool) -> None:
        super().__init__(message)
        self.os_pid = os_pid
        self.background = background


_MOST_SHOWN = 500
_READ_CODES = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def damaged(path: Path, detail: object, *, certain: bool = True) -> StorageDamaged:
    return StorageDamaged(path, shown(detail), certain)


def shown(found: object) -> str:
    """What a file says, for people: it may say anything."""
    return "".join(character if character.isprintable() else "?" for character in str(found)[:_MOST_SHOWN])


def explain(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    """The StorageError for what SQLite or the operating system said about `path`."""
    if isinstance(error, OSError):
        if error.errno in _FULL_ERRNOS:
            return _full(error, path)
        return _failing(error, path) if error.errno == errno.EIO else _unusable(error.strerror or error, path)
    # Primary result codes are the low byte of extended ones. Errors of the module itself carry none.
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    if extended in _READ_CODES:
        return _failing(error, path)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _full(error, path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{path} is open in another program, for example a database browser: close it there first")
    return _unusable(error, path)


def _unusable(error: object, path: Path) -> StorageError:
    return StorageError(f"cannot use {path}: {error}")


def _failing(error: Exception, path: Path) -> StorageError:
    return StorageError(
        f"cannot read {path}: the disk is failing ({error}). Check the disk, then start this node again: "
        "it checks what the disk holds"
    )


def _full(error: Exception, path: Path) -> StorageFull:
    return StorageFull(
        f"cannot write to {path}: the disk is full or failing ({error}). Free some space, then start this node again: "
        "it checks what the disk holds"
    )
