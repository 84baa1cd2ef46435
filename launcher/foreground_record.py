"""Which cluster runs in a terminal without tmux: found again by the path of its configuration file, whatever has become
of the file.

A record is a locked file with a process id, in a private folder below the one for temporary files. Imports nothing that
has to be installed, as `sessions`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.errors import LaunchError
from launcher.sessions import digest

STOP_WITHIN_S = 10.0


@contextmanager
def recorded(config: Path) -> Iterator[None]:
    """While it lasts, `stop` finds this process, if the record can be written. Raises LaunchError if a cluster of this
    file runs already."""
    try:
        record = _open(config, os.O_RDWR | os.O_CREAT)
    except OSError as error:  # as in a container that can write to nothing but its data
        print(f"run.sh: ./run.sh stop will not find this cluster: {error}", file=sys.stderr)
        yield
        return
    try:
        if not _lock(record, fcntl.LOCK_EX):
            raise LaunchError("this cluster is already running in another terminal: ./run.sh stop stops it")
        os.ftruncate(record, 0)
        os.pwrite(record, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(record, 0)
    finally:
        os.close(record)


def stop(config: Path) -> bool:
    """Ends the cluster that was started with this file, and waits for it; False if none is running. Raises
    LaunchError."""
    try:
        record = _open(config, os.O_RDWR)
    except OSError:  # nothing of ours is there: who runs one has written it, or was told that it cannot be found
        return False
    try:
        signalled = 0
        deadline = time.monotonic() + STOP_WITHIN_S
        while not _lock(record, fcntl.LOCK_SH):
            process = int(os.pread(record, 20, 0) or b"0")
            if process not in (0, signalled):  # 0: not written down yet
                signalled = process
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            if time.monotonic() > deadline:
                raise LaunchError(f"process {process} did not exit within {STOP_WITHIN_S:.0f} s: end it yourself")
            time.sleep(0.05)  # a process that is not our child provides no event to wait for
        return signalled != 0
    finally:
        os.close(record)


def _open(config: Path, flags: int) -> int:
    folder = Path(tempfile.gettempdir(), f"consensusllm-{os.getuid()}")
    if flags & os.O_CREAT:
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o77:
        raise PermissionError(f"{folder} is not private to this user")
    return os.open(folder / digest(config), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _lock(record: int, kind: int) -> bool:
    try:
        fcntl.flock(record, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
