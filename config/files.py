"""Files that users name: read whole, bounded, and without waiting for anybody."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)


class UnusableFile(Exception):
    """Says why."""


class MissingFile(UnusableFile):
    """There is none of this name."""


def shown_path(path: Path | str) -> str:
    """A file's name for messages, in which nothing controls a terminal; a very long one is shortened."""
    text = str(path)
    text = text if len(text) <= 400 else f"{text[:200]}...{text[-150:]}"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def read_whole(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file, of at most `most` bytes. Whatever else the name stands for is refused rather than
    waited for: opening a pipe may take for ever, and a device may never end. Raises UnusableFile."""
    try:
        _require_regular(os.stat(path).st_mode)
        # Whatever has taken the file's place since, opening does not wait for it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            _require_regular(before.st_mode)
            content = file.read(None if most is None else most + 1) if _fits(before.st_size, most) else b""
            after = os.fstat(descriptor)
    except FileNotFoundError:
        raise MissingFile("No such file or directory") from None
    except (OSError, ValueError) as error:
        reason = str(error.strerror or error) if isinstance(error, OSError) else "no file can have this name"
        raise UnusableFile(reason) from error
    if not _fits(max(before.st_size, len(content)), most):
        raise UnusableFile(f"it is too large: at most {most} bytes are allowed")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnusableFile("it has changed while it was read: try again when it is complete")
    return content


def require_replaceable(path: Path, force: bool) -> None:
    """Nothing is there, or, with `force`, a regular file: nothing else is replaced. Nor is a file made whose name
    controls the terminal of whoever lists it. Raises FileExistsError, UnusableFile and OSError."""
    if any(unicodedata.category(character) == "Cc" for character in path.name):
        raise UnusableFile("its name contains control characters")
    if path.is_dir() or (path.exists() and not path.is_file()):
        _require_regular(path.stat().st_mode)
    if not force and os.path.lexists(path):
        raise FileExistsError


def _fits(size: int, most: int | None) -> bool:
    return most is None or size <= most


def _require_regular(mode: int) -> None:
    """Raises UnusableFile."""
    if not stat.S_ISREG(mode):
        kind = next((name for of_kind, name in _KINDS if of_kind(mode)), "no file")
        raise UnusableFile(f"it is {kind}; a regular file is needed")
