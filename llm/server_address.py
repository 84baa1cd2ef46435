"""The address of an LLM's server: where requests go, what of it users may see, and what of it is secret."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from llm.provider import ProviderError

_PATH_WORDS = frozenset((
    "openai", "deployments", "compatible-mode", "completions", "models", "inference", "engines", "endpoints",
    "projects", "locations", "publishers", "google", "v1beta", "compat", "gateway", "serverless", "generate", "ollama",
    "client", "accounts", "serving-endpoints", "openapi", "workers-ai", "llama.cpp",
))
"""Parts of paths that say nothing of a user."""
_BEFORE_NAMES = ("deployments", "locations", "engines", "models")
"""What follows these is the name of a model or of a region."""
_MIN_SECRET = 3
"""Shorter ones would be found in every other word."""
_MIN_PATH_SECRET = 6
_KEY = re.compile(r"(?=.*\d)(?=.*[a-z]).{16,}", re.IGNORECASE)
"""What a part of a path looks like that is most likely a key."""
_PUBLIC_PARAMETERS = ("api-version", "version", "alt")
_URL_SAFE = str.maketrans("+/", "-_")
"""The other alphabet of base64."""


class ServerAddress(NamedTuple):
    """`url` has no user, password or query; `query` is as it was given."""

    url: str
    query: str
    user: tuple[str, str] | None
    """Name and password, for HTTP's own authentication."""
    host: str
    shown: str
    """Without anything that may be secret."""
    secrets: tuple[str, ...]
    """What no answer shows."""
    private: tuple[str, ...]
    """What no reason shows: also any other part of the path that may say something of a user. Many are ordinary words,
    which answers need."""

    @property
    def is_this_machine(self) -> bool:
        """Then no proxy can reach it."""
        return _is_this_machine(self.host)


def server_address(base_url: str) -> ServerAddress:
    """Raises ProviderError, without repeating an address that makes no sense: it may hold a password."""
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ProviderError("the base_url is invalid: its host or its port makes no sense") from None
    if parts.scheme not in ("http", "https"):
        raise ProviderError("the base_url must begin with http:// or https://")
    if not host:
        raise ProviderError("the base_url is invalid: it names no host")
    at = f"[{host}]" if ":" in host else host
    place = f"{parts.scheme}://{at}" + ("" if port is None else f":{port}")
    user = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    names = _names_in(parts.path)
    secrets = {*_secrets_in(parts.query, user), *filter(_KEY.fullmatch, names)}
    return ServerAddress(
        place + parts.path.rstrip("/"), parts.query, user, host, place,
        _written(secrets), _written(secrets | names),
    )


def _is_this_machine(host: str) -> bool:
    """For who connects. 0.0.0.0, which servers print that listen on all addresses, leads to the loopback."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def written_forms(secret: str) -> set[str]:
    """How a secret may appear in what a server says of a request."""
    encoded = base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")
    return {
        secret, quote(secret, safe=""), quote_plus(secret), secret.replace('"', '\\"'), encoded,
        encoded.translate(_URL_SAFE),
    }


def _secrets_in(query: str, user: tuple[str, str] | None) -> set[str]:
    found = set() if user is None else {*user, base64.b64encode(":".join(user).encode()).decode()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() not in _PUBLIC_PARAMETERS:
            found.add(value.strip("=") or name)  # a key may stand by itself, and end like base64
    return found


def _names_in(path: str) -> set[str]:
    """Parts of a path that may say something of a user."""
    return {
        part for before, part in pairwise(unquote(part) for part in path.split("/"))
        if len(part) >= _MIN_PATH_SECRET and part.lower() not in _PATH_WORDS and before.lower() not in _BEFORE_NAMES
    }


def _written(secrets: Iterable[str]) -> tuple[str, ...]:
    """In all their forms, the longest first."""
    forms = {form for secret in secrets if len(secret) >= _MIN_SECRET for form in written_forms(secret)}
    return tuple(sorted(forms, key=len, reverse=True))
