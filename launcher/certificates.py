"""Makes a cluster's certificates: an authority of its own, and what it signs (`./run.sh cert`)."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from launcher.errors import LaunchError
from net.tls import AUTHORITY, identity_uri

AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 825
"""Systems refuse servers' certificates that are valid for longer than the second."""
CLOCK_SKEW = datetime.timedelta(hours=1)
"""How far the clock of another machine may be behind."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?\Z")


def make_authority(folder: Path, cluster: str) -> Path:
    """The cluster's authority; its key signs all else and is needed for nothing else. Raises LaunchError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"ConsensusLLM {cluster}")
    certificate = (
        _unsigned(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _write(folder, AUTHORITY, key, certificate)


def make_certificate(folder: Path, cluster: str, name: str, hosts: list[str]) -> Path:
    """That of `name` (as in net/tls.py), whom others also reach as one of `hosts`. Raises LaunchError."""
    authority, authority_key = _authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity_uri(cluster, name))]
    names += [_host(host) for host in hosts]
    certificate = (
        _unsigned(_name(f"{name} of {cluster}"), authority.subject, key.public_key(), CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _write(folder, name, key, certificate, replace=True)


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{AUTHORITY}.key").read_bytes(), None)
    except FileNotFoundError as error:
        raise LaunchError(
            f"{error.filename} does not exist: `./run.sh cert ca` makes an authority; if you have one, run this where "
            "its key is"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise LaunchError(f"the authority in {folder} cannot be used: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise LaunchError(f"in {folder}, {AUTHORITY}.key is not the key of {AUTHORITY}.crt")
    return certificate, key


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW).not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.match(host) or len(host) > 253:
            raise LaunchError(f"{host[:80]!r} is no host name or address") from None
        return x509.DNSName(host)


def _write(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, *, replace: bool = False
) -> Path:
    """Both files, each complete or not there; the certificate last, since who reads both anew looks at it."""
    path = folder / f"{name}.crt"
    if path.exists() and not replace:
        raise LaunchError(f"{path} exists, and what it has signed would be worth nothing: move it away first")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signed = certificate.public_bytes(serialization.Encoding.PEM)
        for target, data in ((path.with_suffix(".key"), pem), (path, signed)):
            new = target.with_name(f"{target.name}.new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                os.fsync(file.fileno())
            new.replace(target)
    except OSError as error:
        raise LaunchError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return path
