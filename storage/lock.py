"""One process at a time: an flock on `<path>.lock`, which the operating system releases when its holder dies.

The lock file remains when it is not held; its content only identifies the holder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from storage.errors import StorageError, StorageLocked, explain


class _Holder(msgspec.Struct):
    os_pid: int
    background: bool


class Lock:
    def __init__(self, path: Path, background: bool) -> None:
        """Takes the lock of the database at `path`. Raises StorageLocked if another process has it."""
        lock_path = path.with_name(path.name + ".lock")
        try:
            file = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise explain(error, lock_path) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, msgspec.json.encode(_Holder(os.getpid(), background)), 0)
        except BlockingIOError:
            locked = _locked(path, file)
            os.close(file)
            raise locked from None
        except OSError as error:
            os.close(file)
            raise explain(error, lock_path) from error
        self._file: int | None = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _locked(path: Path, file: int) -> StorageError:
    try:
        holder = msgspec.json.decode(os.pread(file, 1000, 0), type=_Holder)
        os.kill(holder.os_pid, 0)
    except (msgspec.MsgspecError, ProcessLookupError, OverflowError):
        # The holder has just taken the lock and has not written its id yet.
        return StorageLocked(f"{path} is in use by another process", None, False)
    except PermissionError:
        pass  # another user's process, and alive
    return StorageLocked(
        f"{path} is in use by process {holder.os_pid}: is this node already running?", holder.os_pid, holder.background
    )
