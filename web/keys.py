"""Who may do what over HTTP: keys and the roles that they give.

A cluster without `http.keys` has one key, drawn into a file of its data directory. From each key that allows
everything, keys for less are derived, so that they need no file of their own and no configuration.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from config.http_settings import HttpKey, HttpSettings

KEY_BYTES = 24
_FILE = "http.key"


class Role(IntEnum):
    """Each allows what those before it allow."""

    READ = 1
    """To watch."""
    WRITE = 2
    """To ask and to choose."""
    OPERATE = 3
    """To change the cluster, and to use files of the node's machine."""


class KeyFileError(Exception):
    """The key's file cannot be used; the text says why."""


def derived(key: str, role: Role) -> str:
    """The key that allows no more than `role`, made of one that allows everything."""
    if role is Role.OPERATE:
        return key
    name = role.name.lower()
    return f"{name}-{hmac.new(key.encode(), name.encode(), hashlib.sha256).hexdigest()[:40]}"


class Keyring:
    """The keys that are accepted."""

    def __init__(self, keys: Iterable[HttpKey]) -> None:
        self._roles: list[tuple[bytes, Role]] = []
        for given in keys:
            role = Role[given.role.upper()]
            grants = [(derived(given.key, one), one) for one in Role] if role is Role.OPERATE else [(given.key, role)]
            self._roles += [(_hashed(key), granted) for key, granted in grants]

    def role_of(self, key: str) -> Role | None:
        """What this key allows; None if it is none. Takes as long whichever it is: hashes of all are compared."""
        given, found = _hashed(key), None
        for known, role in self._roles:
            if hmac.compare_digest(given, known):
                found = role
        return found


def keyring(http: HttpSettings, data_dir: Path) -> Keyring:
    """Raises KeyFileError."""
    return Keyring(http.granted or (HttpKey(drawn_key(data_dir)),))


def full_key(http: HttpSettings, data_dir: Path) -> str | None:
    """One that allows everything, for the user of this machine; None if the configuration names none. Raises
    KeyFileError."""
    if not http.keys:
        return drawn_key(data_dir)
    return next((given.key for given in http.granted if given.role == "operate"), None)


def drawn_key(folder: Path) -> str:
    """The cluster's own key, drawn if there is none yet: by whichever process comes first. Raises KeyFileError."""
    path = folder / _FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f"{_FILE}.{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):  # another process was quicker: its key counts
                os.link(draft, path)
        finally:
            draft.unlink()
        return _read(path)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be used: {error.strerror or error}") from error


def _read(path: Path) -> str:
    """As storage/shared_secret.py reads its file. Raises KeyFileError, OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o077:
            raise KeyFileError(
                f"{path} is not a file of this user alone: chmod 600 it, or delete it, and a new one is drawn at the "
                "next start"
            )
        key = file.read(1000).decode("ascii", errors="replace").strip()
    if len(key) < KEY_BYTES:
        raise KeyFileError(f"{path} holds no key: delete it, and a new one is drawn at the next start")
    return key


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
