"""A damaged file is kept, under a name that nobody opens, and the node begins with a new disk, as if it had lost its
own: what it promised may be lost with the damage. The new disk knows that it is not the first one: it never founds a
cluster, however many disks are damaged at once."""

from __future__ import annotations

from pathlib import Path

from storage.inspection import sync_folder

_MARK = ".damaged-"
_SUFFIXES = ("", "-wal", "-journal", "-shm")
"""The file itself goes first: a crash on the way then leaves a log without its file, which is damage, too. The other
way round it would leave a file that has silently lost its log."""


def set_aside(path: Path) -> Path:
    """To be called by who has the lock of `path`. Returns where the file is now, or would be if there was only its
    write-ahead log. Raises OSError."""
    number = 1
    while any(_with_suffix(_kept(path, number), suffix).exists() for suffix in _SUFFIXES):
        number += 1
    kept = _kept(path, number)
    for suffix in _SUFFIXES:
        part = _with_suffix(path, suffix)
        if part.exists():
            part.rename(_with_suffix(kept, suffix))
            sync_folder(path.parent)
    return kept


def had_damage(path: Path) -> bool:
    """Whether a file that was at `path` has been set aside."""
    return any(sibling.name.startswith(f"{path.name}{_MARK}") for sibling in path.parent.iterdir())


def _kept(path: Path, number: int) -> Path:
    return _with_suffix(path, f"{_MARK}{number}")


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
