"""Who may take part in a cluster: whoever knows its secret, or, without one, this user's processes on this machine."""

from __future__ import annotations

from pathlib import Path

from config.config import Config
from config.secret_strength import HOW_TO_DRAW
from config.tls_settings import NAME
from net.peer_user import can_tell
from net.tls import TlsContexts, TlsFiles, identity_uri
from storage.shared_secret import shared_secret


def secret_of(config: Config) -> str | None:
    """The file's. If it has none, and this system does not tell whose process is at the other end of a connection, one
    that this user's processes share in their data directory. Raises StorageError."""
    if config.secret is not None or can_tell():
        return config.secret
    return shared_secret(config.data_dir)


def tls_of(config: Config, name: str, *, client_certificates: bool = True) -> TlsContexts | None:
    """For the process that certificates call `name`; None if the cluster has no TLS. Raises TlsError."""
    if config.tls is None:
        return None
    cert, key = (Path(one.replace(NAME, name)) for one in (config.tls.cert, config.tls.key))
    files = TlsFiles(Path(config.tls.ca), cert, key)
    return TlsContexts(files, identity_uri(config.cluster, name), client_certificates=client_certificates)


def notices(config: Config) -> list[str]:
    """To be said once by each process."""
    if config.secret is not None:
        return []
    return [
        f'{config.path.name} has no "secret": only processes of this user on this machine are let in. {HOW_TO_DRAW}'
    ]
