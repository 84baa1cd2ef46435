"""One process at a time: an flock on `<path>.lock`, which the operating system releases when its holder dies.

The lock file remains when it is not held; its content only identifies the holder. Other users cannot hold it, because
they cannot open it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec

from storage.errors import StorageError, StorageLocked, explain


class _Holder(msgspec.Struct):
    os_pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    background: bool


class Lock:
    def __init__(self, path: Path, background: bool) -> None:
        """Takes the lock of the database at `path`. Raises StorageLocked if another process has it."""
        lock_path = path.with_name(path.name + ".lock")
        try:
            file = _take(path, lock_path)
        except OSError as error:
            raise explain(error, lock_path) from error
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, msgspec.json.encode(_Holder(os.getpid(), background)), 0)
        except OSError as error:
            os.close(file)
            raise explain(error, lock_path) from error
        self._file: int | None = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def hold(paths: Iterable[Path]) -> ExitStack:
    """Holds the locks of these databases, all or none, until it is closed. Raises StorageLocked if one is in use."""
    with ExitStack() as stack:
        for path in paths:
            stack.callback(Lock(path, background=False).release)
        return stack.pop_all()


def _take(path: Path, lock_path: Path) -> int:
    """Raises StorageError, OSError."""
    while True:
        file = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _restrict(file, lock_path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, lock_path):
                return file
        except BlockingIOError:
            locked = _locked(path, file)
            os.close(file)
            raise locked from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # who had it has deleted it meanwhile: this is the lock of nothing


def _restrict(file: int, lock_path: Path) -> None:
    """Whoever can open a file can lock it; earlier releases let everybody read it."""
    owner = os.fstat(file).st_uid
    if owner == os.geteuid():
        os.fchmod(file, 0o600)
    elif os.geteuid() != 0:
        raise StorageError(f"{lock_path} belongs to another user, who could keep this node from starting: delete it")


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _locked(path: Path, file: int) -> StorageError:
    try:
        holder = msgspec.json.decode(os.pread(file, 1000, 0), type=_Holder)
        os.kill(holder.os_pid, 0)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ProcessLookupError):
        # The holder has just taken the lock and has not written its id yet.
        return StorageLocked(f"{path} is in use by another process", None, False)
    except PermissionError:
        pass  # another user's process, and alive
    return StorageLocked(
        f"{path} is in use by process {holder.os_pid}: is this node already running?", holder.os_pid, holder.background
    )
