"""Looks at a file before it is opened for writing, so that one that is damaged or not ours is never touched."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from storage.errors import StorageError, damaged, explain
from storage.full_sync import full_sync
from storage.migration import OLD_VERSION
from storage.tables import check_rows, check_schema
from storage.wal import check_log

APPLICATION_ID: Final = 0x434C_4C4D  # "CLLM"
VERSION: Final = 2
"""Of the tables' layout."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_PAGE_BYTES: Final = 4096


def is_new(path: Path) -> bool:
    """True if there is nothing at `path` yet, or a file without content. Raises StorageError if what is there is not
    a sound file of this program."""
    if path.is_dir():
        raise StorageError(f"cannot use {path}: it is a directory")
    try:
        header = _read_header(path)
        leftovers = [one for one in (_beside(path, "-wal"), _beside(path, "-journal")) if _size(one) > 0]
        size = _size(path)
    except OSError as error:
        raise explain(error, path) from error
    if not header:
        if leftovers:
            raise damaged(path, f"it is empty or missing, but {leftovers[0].name} beside it is not")
        return True
    _check_header(path, header)
    if not leftovers and size < _number(header, 28) * _PAGE_BYTES:
        raise damaged(path, "it is shorter than it says")
    _check_content(path)
    return False


def make_folder(folder: Path) -> None:
    """Makes a folder for this user alone, whose name survives a power failure. Raises StorageError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in missing:
            sync_folder(one.parent)
    except OSError as error:
        raise explain(error, folder) from error


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        full_sync(file)
    finally:
        os.close(file)


def _read_header(path: Path) -> bytes:
    """Empty if there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except FileNotFoundError:
        if path.is_symlink():
            raise StorageError(f"cannot use {path}: it is a link to nothing") from None
        return b""


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _number(header: bytes, start: int) -> int:
    return int.from_bytes(header[start : start + 4], "big")


def _check_header(path: Path, header: bytes) -> None:
    """The parts of SQLite's file header (https://www.sqlite.org/fileformat.html) that tell whose file this is."""
    version, application = _number(header, 60), _number(header, 68)
    if not header.startswith(_MAGIC):
        if application == APPLICATION_ID:
            raise damaged(path, "its first bytes")
        raise StorageError(f"{path} is not a database of this program; it was left as it is")
    if len(header) < _HEADER_BYTES:
        raise damaged(path, "it ends within its header")
    if application != APPLICATION_ID:
        raise StorageError(f"{path} is a database of another program; it was left as it is")
    if version not in (OLD_VERSION, VERSION):
        raise StorageError(
            f"{path} has storage format {version}, this program knows formats {OLD_VERSION} and {VERSION}; "
            "it was left as it is"
        )


def _check_content(path: Path) -> None:
    """Reads the whole file, without a chance to write to it."""
    index = _beside(path, "-shm")
    had_index = index.exists()
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            _check_with(connection, path)
        finally:
            connection.close()
            if not had_index:
                index.unlink(missing_ok=True)  # a connection that may not write leaves it
    except (sqlite3.Error, OSError) as error:
        raise explain(error, path) from error


def _check_with(connection: sqlite3.Connection, path: Path) -> None:
    try:
        # That every page and every row is where SQLite looks for it, by the index too.
        findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
        if findings != ["ok"]:
            raise damaged(path, findings[0].splitlines()[-1])
        check_log(_beside(path, "-wal"), _beside(path, "-shm"))
        if connection.execute("PRAGMA user_version").fetchone() != (OLD_VERSION,):
            check_schema(connection, path)
            check_rows(connection, path)
    except UnicodeDecodeError as error:
        raise damaged(path, "its table sqlite_schema: no text") from error
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise damaged(path, error) from error  # these statements are good for every sound file
        raise
