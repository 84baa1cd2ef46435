"""fsync, down to the disk itself: on macOS it stops short of the disk's own cache, and another call goes further."""

from __future__ import annotations

import contextlib
import fcntl
import os


def full_sync(file: int) -> None:
    """Of an open file or folder. Raises OSError."""
    os.fsync(file)
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):  # a file system that can do no more; if the disk fails, fsync has said so
            fcntl.fcntl(file, full)
