"""The `engine` section of config.json: what replicates the operations, the embedded Multi-Paxos or an etcd cluster."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from config.http_settings import is_loopback

MAX_ENDPOINTS = 16

_PREFIX = re.compile(r"/?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EtcdTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files of PEM, relative to the configuration file: who signs the members' certificates, and this side's own."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All keys but `type` are for etcd."""

    type: Literal["paxos", "etcd"] = "paxos"
    endpoints: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ENDPOINTS)] = ()
    """URLs of members, as in `etcdctl --endpoints`."""
    prefix: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    """Of this cluster's keys; consensusllm/<cluster> if None."""
    tls: EtcdTls | None = None
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    password_env: str | None = None
    """The environment variable that holds the password."""
    compact_history: bool = True
    """Whether the leader has etcd forget old revisions, of all keys that it holds; false if others see to that."""
    insecure: bool = False
    """It may be reached unencrypted on other machines."""

    @property
    def is_etcd(self) -> bool:
        return self.type == "etcd"


def mistake(engine: EngineSettings) -> str | None:
    """What is wrong with the section, in a sentence; None if nothing is."""
    if not engine.is_etcd:
        given = next((name for name in ("endpoints", "prefix", "tls", "user", "password_env", "insecure")
                      if getattr(engine, name)), None)
        return given and f'engine.{given} is for "type": "etcd"; the embedded engine has no such key'
    if not engine.endpoints:
        return 'engine.endpoints is empty; it must list URLs of etcd\'s members, like "https://10.0.0.1:2379"'
    for index, endpoint in enumerate(engine.endpoints):
        wrong = _wrong_endpoint(endpoint, engine.insecure)
        if wrong is not None:
            return f"engine.endpoints[{index}] is {json.dumps(endpoint)[:120]}; {wrong}"
    if engine.prefix is not None and not _PREFIX.fullmatch(engine.prefix):
        return (
            f"engine.prefix is {json.dumps(engine.prefix)[:80]}; it must be words of letters, digits, dots, _ and -, "
            "with slashes between them"
        )
    if engine.tls is not None and (engine.tls.cert is None) != (engine.tls.key is None):
        return "engine.tls has one of cert and key; they belong together"
    if engine.tls is not None and all(endpoint.startswith("http:") for endpoint in engine.endpoints):
        return 'engine.tls is given, but no endpoint begins with "https://"'
    if (engine.user is None) != (engine.password_env is None):
        return "engine has one of user and password_env; they belong together"
    if engine.password_env is not None and not _VARIABLE.fullmatch(engine.password_env):
        return "engine.password_env must name an environment variable; the password itself is not for this file"
    return None


def _wrong_endpoint(endpoint: str, insecure: bool) -> str | None:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return "it must be like https://10.0.0.1:2379"
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        return "it must name a host and a port, and nothing else"
    if parts.scheme == "http" and not is_loopback(host) and not insecure:
        return 'other machines are reached by https:// only, unless that is accepted with "insecure": true'
    return None
