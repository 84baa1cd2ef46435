"""How nodes reach etcd's members by TLS: with the files as they are when a connection begins, so that certificates can
be replaced without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from config.config import Config
from config.engine_settings import EtcdTls
from launcher.errors import LaunchError

_log = logging.getLogger(__name__)


class EtcdContexts:
    """While new files cannot be used, the former ones are, and this is logged once. Raises LaunchError if the first
    ones cannot be."""

    def __init__(self, config: Config) -> None:
        self._where = f'("engine"."tls" in {config.path})'
        self._files = config.engine.tls or EtcdTls()
        self._versions = self._files_now()
        self._context = self._make()
        self._problem: str | None = None

    def __call__(self) -> ssl.SSLContext:
        """For the next connection."""
        try:
            versions = self._files_now()
            if versions != self._versions:
                self._context, self._versions = self._make(), versions
            self._problem = None
        except LaunchError as error:
            if self._problem != str(error):
                self._problem = str(error)
                _log.warning("the former certificate stays in use: %s", error)
        return self._context

    def _files_now(self) -> list[tuple[int, int, int]]:
        """Which versions are there. Raises LaunchError: what ssl raises names no file."""
        found = []
        for path in (self._files.ca, self._files.cert, self._files.key):
            if path is not None:
                try:
                    with Path(path).open("rb"):
                        state = Path(path).stat()
                except OSError as error:
                    raise LaunchError(f"{path} cannot be read: {error.strerror} {self._where}") from error
                found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        return found

    def _make(self) -> ssl.SSLContext:
        """Raises LaunchError."""
        ca, cert, key = self._files.ca, self._files.cert, self._files.key
        wrong = ca
        try:
            context = ssl.create_default_context(cafile=ca)
            if cert is not None:
                wrong = f"{key} with {cert}"
                context.load_cert_chain(cert, key, _no_password)
        except (OSError, ValueError) as error:
            why = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
            raise LaunchError(f"{wrong} cannot be used: {why} {self._where}") from error
        return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted: a process that starts by itself cannot ask for its password")
