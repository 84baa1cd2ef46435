"""Where the nodes of a machine and the local model's server find each other: a directory with four files.

    start.lock     held by the process that starts the server, then by the server itself until it is ready or dead
    address.json   where the server listens; locked by the server while it runs, so a stale one is recognized
    users.lock     shared by all nodes that use the server
    server.log     the server's output

The locks use flock: the kernel releases them when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec


class Address(msgspec.Struct, frozen=True):
    """Of a server; who knows the token may use it."""

    url: str
    token: str
    pid: int


class ServerRendezvous:
    """The directory of one model's server. Methods raise OSError if it cannot be used."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "server.log"
        self._start = directory / "start.lock"
        self._address = directory / "address.json"
        self._users = directory / "users.lock"

    @classmethod
    def of(cls, data_dir: Path, model: Path) -> ServerRendezvous:
        """One directory per model file."""
        digest = hashlib.blake2s(os.fsencode(model), digest_size=4).hexdigest()
        return cls(data_dir.absolute() / "local-llm" / f"{model.stem}-{digest}")

    def make(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def starting(self, *, wait: bool) -> Iterator[int | None]:
        """Takes the start lock; returns its descriptor, or None if it is taken and `wait` is false.

        A process that inherits the descriptor keeps holding the lock.
        """
        descriptor = _open(self._start)
        try:
            yield descriptor if _lock(descriptor, fcntl.LOCK_EX, wait=wait) else None
        finally:
            os.close(descriptor)

    def join(self) -> int:
        """Registers a user; returns the descriptor to close in order to leave."""
        descriptor = _open(self._users)
        _lock(descriptor, fcntl.LOCK_SH, wait=True)
        return descriptor

    def has_users(self) -> bool:
        descriptor = _open(self._users)
        try:
            return not _lock(descriptor, fcntl.LOCK_EX, wait=False)
        finally:
            os.close(descriptor)

    def publish(self, address: Address) -> int:
        """Makes the caller the server; returns the descriptor that keeps the address locked. Needs the start lock."""
        draft = self._address.with_suffix(".draft")
        with suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(descriptor, msgspec.json.encode(address))
        _lock(descriptor, fcntl.LOCK_EX, wait=False)
        draft.rename(self._address)
        return descriptor

    def withdraw(self) -> None:
        """Removes the caller's address. Needs the start lock."""
        self._address.unlink(missing_ok=True)

    def is_published(self, descriptor: int) -> bool:
        """Whether the address that `publish` returned this descriptor for is still the one that nodes find."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._address.stat())
        except FileNotFoundError:
            return False

    def find(self) -> Address | None:
        """The address of the running server, if there is one."""
        try:
            descriptor = os.open(self._address, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            if _lock(descriptor, fcntl.LOCK_SH, wait=False):
                return None
            try:
                return msgspec.json.decode(file.read(), type=Address)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return None

    def last_log_line(self) -> str:
        """The last line of the log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return next((line for line in reversed(lines) if line.strip()), "")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int, kind: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
