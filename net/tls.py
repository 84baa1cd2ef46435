"""Who is at the other end of a connection, by certificate, and nobody in between: mutual TLS 1.3 with the cluster's own
authority. `./run.sh cert` (launcher/certificates.py) makes the files.

A certificate says whose it is by a URI among its names. Host names do not count between nodes and orchestrator: whoever
the authority calls this cluster's network is it, at whatever address.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from pathlib import Path
from typing import Any

import msgspec

AUTHORITY, NETWORK = "ca", "network"
"""Names of files: the authority's, and the orchestrator's."""
HANDSHAKE_S = 5.0
"""At most."""

_NOT_YET, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_log = logging.getLogger(__name__)


def node_name(number: int) -> str:
    return f"node-{number}"


def identity_uri(cluster: str, name: str) -> str:
    """Of `name`, which is NETWORK, a `node_name`, or `client-...`."""
    return f"consensusllm:{cluster}/{name}"


class TlsError(Exception):
    """The files cannot be used; the text says which and why."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Where a process finds them, in PEM format."""

    ca: Path
    cert: Path
    key: Path


class TlsContexts:
    """Contexts made of the files as they are now: new connections take new files. While those cannot be used, the last
    ones that could be are, and this is logged once."""

    def __init__(self, files: TlsFiles, identity: str, *, client_certificates: bool = True) -> None:
        """`identity` is the URI that the certificate must have. Without `client_certificates`, servers ask for none.
        Raises TlsError."""
        self._files = files
        self._identity = identity
        self._client_certificates = client_certificates
        self._versions = self._files_now()
        self._problem: str | None = None
        self._server, self._client = self._make()

    def server(self) -> ssl.SSLContext:
        """For accepting connections."""
        self._refresh()
        return self._server

    def client(self) -> ssl.SSLContext:
        """For connecting."""
        self._refresh()
        return self._client

    def _refresh(self) -> None:
        try:
            versions = self._files_now()
            if versions != self._versions:
                self._server, self._client = self._make()
                self._versions = versions
            self._problem = None
        except TlsError as error:
            if self._problem != str(error):
                self._problem = str(error)
                _log.warning("the former certificate stays in use: %s", error)

    def _files_now(self) -> list[tuple[int, int, int]]:
        """Which versions of the files are there."""
        found = []
        for path in msgspec.structs.astuple(self._files):
            try:
                state = path.stat()
            except OSError as error:
                raise _unreadable(path, error) from error
            found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        return found

    def _make(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        check_certificate(self._files, self._identity)
        server = self._context(ssl.PROTOCOL_TLS_SERVER)
        if not self._client_certificates:
            server.verify_mode = ssl.CERT_NONE
        return server, self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self._files.ca)
            context.load_cert_chain(self._files.cert, self._files.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise TlsError(f"{self._files.key} cannot be used with {self._files.cert}: {_words(error)}") from error
        return context


def check_certificate(files: TlsFiles, identity: str) -> None:
    """Finds what others would refuse: TLS would not tell this process why. Raises TlsError."""
    from cryptography import x509  # needed only where TLS is wanted

    certificates = []
    for path in (files.cert, files.ca):
        try:
            certificates.append(x509.load_pem_x509_certificates(path.read_bytes()))
        except OSError as error:
            raise _unreadable(path, error) from error
        except ValueError as error:
            raise TlsError(f"{path} is no certificate in PEM format: {_words(error)}") from error
    (own, *chain), authorities = certificates
    now = datetime.datetime.now(datetime.UTC)
    if now > own.not_valid_after_utc:
        raise TlsError(f"{files.cert} expired on {own.not_valid_after_utc:%Y-%m-%d}: `./run.sh cert` makes a new one")
    if now < own.not_valid_before_utc:
        start = f"{own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise TlsError(f"{files.cert} is valid from {start} on, and it is {now:%Y-%m-%d %H:%M} on this machine's clock")
    names = _uris(own)
    if identity not in names:
        whose = ", ".join(names) or "none of this program's"
        raise TlsError(f"{files.cert} has the name {whose}; this process needs the one of {identity}")
    if not any(_signed(own, by) for by in (*chain, *authorities)):
        raise TlsError(f"{files.cert} is not signed by the authority in {files.ca}")


def peer_identities(transport: asyncio.BaseTransport) -> list[str]:
    """The URIs in the certificate of the other end; empty without TLS."""
    certificate: dict[str, Any] = transport.get_extra_info("peercert") or {}
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]


def handshake_failure(error: Exception) -> str:
    """Why a handshake failed, as something that the other side did."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return "its certificate has expired, or this machine's clock is wrong"
        if error.verify_code == _NOT_YET:
            return "its certificate is not valid yet, or this machine's clock is wrong"
        return f"its certificate is not signed by this cluster's authority ({error.verify_message})"
    reason = getattr(error, "reason", None)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"):
        return 'it does not use TLS: "tls" is missing in its config.json'
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it has no certificate"
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return f"it took longer than {HANDSHAKE_S:g} s, or does not use TLS"
    return f"{_words(error)}; its own messages say more"


def _uris(certificate: Any) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def _signed(certificate: Any, by: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _no_password() -> str:
    raise TlsError("the private key is encrypted: a process that starts by itself cannot ask for its password")


def _unreadable(path: Path, error: OSError) -> TlsError:
    if isinstance(error, FileNotFoundError):
        return TlsError(f"{path} does not exist: `./run.sh cert` makes it")
    return TlsError(f"{path} cannot be read: {_words(error)}")


def _words(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
