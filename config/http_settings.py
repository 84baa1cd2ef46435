"""The `http` section of config.json: where the HTTP API listens, and who may use it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import Annotated

import msgspec

MIN_KEY = 16
MAX_PORT = 65535

ROLES = ("read", "write", "operate")
"""What a key allows, each role with those before it: to watch; to ask and choose; to change the cluster."""


class HttpKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    role: str = "operate"


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The orchestrator listens at `port`, node N at `port + N`. Without `keys`, one is drawn into the data
    directory."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT)] = 7480
    keys: tuple[str | HttpKey, ...] = ()
    """A plain string allows everything."""
    names: tuple[str, ...] = ()
    """Further host names by which clients may call the API."""
    insecure: bool = False
    """Without TLS it may listen where other machines reach it."""

    def port_of(self, node: int) -> int:
        """Of a node; of the orchestrator, if 0."""
        return self.port + node

    @property
    def granted(self) -> tuple[HttpKey, ...]:
        """The keys with their roles."""
        return tuple(HttpKey(key) if isinstance(key, str) else key for key in self.keys)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def mistake(http: HttpSettings, nodes: Iterable[int], orchestrator_port: int) -> str | None:
    """What is wrong with the section, in a sentence; None if nothing is."""
    ports = [0, *nodes]
    if http.port_of(max(ports)) > MAX_PORT:
        return (
            f"http.port is {http.port}; node {max(ports)} would listen at {http.port_of(max(ports))}, and {MAX_PORT} "
            "is the last port that there is"
        )
    taken = next((node for node in ports if http.port_of(node) == orchestrator_port), None)
    if taken is not None:
        whose = f"node {taken}'s API" if taken else "the orchestrator's API"
        return f"http.port is {http.port}; then {whose} has the port of orchestrator.port, which is {orchestrator_port}"
    return next(filter(None, (_wrong_key(f"http.keys[{index}]", key) for index, key in enumerate(http.granted))), None)


def _wrong_key(where: str, key: HttpKey) -> str | None:
    if key.role not in ROLES:
        return f'{where}.role is {json.dumps(key.role)[:80]}; it must be "read", "write" or "operate"'
    if len(key.key) < MIN_KEY or not key.key.isascii() or not key.key.isprintable() or " " in key.key:
        return (
            f"{where} is {len(key.key)} characters long; a key must have at least {MIN_KEY} printable ASCII characters "
            "and no spaces"
        )
    return None
