"""The `tls` section of config.json: where this machine's certificates are."""

from __future__ import annotations

from typing import Annotated

import msgspec

from config.http_settings import HttpSettings, is_loopback

FileName = Annotated[str, msgspec.Meta(min_length=1)]

NAME = "{name}"
"""Stands in a file's name for whose it is, so that several processes of one machine share a configuration."""


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files in PEM format."""

    ca: FileName = "tls/ca.crt"
    """The certificate of the cluster's authority."""
    cert: FileName = f"tls/{NAME}.crt"
    key: FileName = f"tls/{NAME}.key"
    http_clients: bool = False
    """Whoever uses the HTTP API needs a certificate, too."""


def missing(tls: TlsSettings | None, orchestrator_host: str, http: HttpSettings | None) -> str | None:
    """Where other machines reach what is not encrypted, in a sentence; None if nowhere."""
    if tls is not None:
        return None
    how = '`./run.sh cert` makes certificates, and "tls": {} uses them (docs/configuration.md)'
    if not is_loopback(orchestrator_host):
        return (
            f'orchestrator.host is "{orchestrator_host}", which other machines can reach, and there is no "tls" '
            f"section: whoever is in between could read and change everything. {how}"
        )
    if http is not None and not is_loopback(http.host) and not http.insecure:
        return (
            f'http.host is "{http.host}", which other machines can reach, and the API is not encrypted. {how}; or use '
            '"127.0.0.1" (with an SSH tunnel or a TLS proxy before it), or accept it with "insecure": true'
        )
    return None
