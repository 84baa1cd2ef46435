"""A secret for the processes of one user that share a data directory: drawn by the first one, in a file of mode 600."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from storage.errors import StorageError, explain
from storage.inspection import make_folder

NAME = "secret"
BYTES = 24


def shared_secret(folder: Path) -> str:
    """Raises StorageError."""
    path = folder / NAME
    make_folder(folder)
    try:
        _draw(path)
        return _read(path)
    except OSError as error:
        raise explain(error, path) from error


def _draw(path: Path) -> None:
    """Unless there is one: of several processes that draw at the same time, one succeeds."""
    if path.exists():
        return
    draft = path.with_name(f"{NAME}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, secrets.token_urlsafe(BYTES).encode())
        os.link(draft, path)
    except FileExistsError:
        return  # another process was faster
    finally:
        os.close(file)
        draft.unlink()


def _read(path: Path) -> str:
    """Raises StorageError, OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o077:
            raise StorageError(f"{path} is not a file of this user alone: delete it, and a new secret is drawn")
        text = file.read(1000).decode(errors="replace")
    if len(text) < BYTES:
        raise StorageError(f"{path} holds no secret: delete it, and a new one is drawn")
    return text
