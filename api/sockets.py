"""Where the control sockets are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LONGEST_PATH = 100
"""Bytes; operating systems limit a socket's address to 104 or 108."""


def socket_path(data_dir: Path, number: int) -> Path:
    """The path where node `number` listens."""
    return data_dir / f"node-{number}.sock"


def network_socket_path(data_dir: Path) -> Path:
    """The path where the orchestrator listens."""
    return data_dir / "network.sock"


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """A short enough name for the socket. Raises OSError if there is none."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{folder}/{path.name}"
        if not os.path.isdir(os.path.dirname(short)):
            raise OSError(f"the path {path} is too long for a socket")
        yield short
    finally:
        os.close(folder)
