"""Disk errors, as sentences for users."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path


class StorageError(Exception):
    """The disk cannot be used; the message says why and what to do. A node that gets this must stop voting."""


class StorageFull(StorageError):
    """The disk cannot be written: no space left, or the device fails."""


class StorageLocked(StorageError):
    """Another process uses the file.

    `os_pid` is its process id, None if unknown (it has only just started). `background` is true if it
    runs in the background, so that a user's own process may ask it to exit.
    """

    def __init__(self, message: str, os_pid: int | None, background: bool) -> None:
        super().__init__(message)
        self.os_pid = os_pid
        self.background = background


_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def damaged(path: Path, detail: object) -> StorageError:
    return StorageError(
        f"{path} is damaged ({detail}); it was left unchanged. Restore it, or move it away: "
        "the node then restarts with an empty disk as a non-voting learner"
    )


def explain(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    """The StorageError for an error of SQLite or the operating system about `path`."""
    if isinstance(error, OSError):
        if error.errno in _FULL_ERRNOS:
            return _full(error, path)
        return StorageError(f"cannot use {path}: {error.strerror or error}")
    # Primary result codes are the low byte of extended ones. Errors of the module itself carry none.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _full(error, path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{path} is open in another program, for example a database browser: close it there first")
    return StorageError(f"cannot use {path}: {error}")


def _full(error: Exception, path: Path) -> StorageFull:
    return StorageFull(
        f"cannot write to {path}: the disk is full or failing ({error}). Free some space, then start this node again; "
        "nothing that it acknowledged is lost"
    )
