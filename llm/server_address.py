"""The address of an LLM's server: where requests go, what of it users may see, and what of it is secret."""

from __future__ import annotations

import base64
import ipaddress
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from llm.provider import ProviderError

_PATH_WORDS = frozenset((
    "openai", "deployments", "compatible-mode", "completions", "models", "inference", "engines", "endpoints",
    "projects", "locations", "publishers", "google", "v1beta", "compat", "gateway", "serverless", "generate", "ollama",
))
"""Parts of paths that say nothing of a user."""
_MIN_SECRET = 3
"""Shorter ones would be found in every other word."""
_MIN_PATH_SECRET = 6
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
    is_plain: bool
    """Everybody on the way can read what is sent."""
    secrets: tuple[str, ...]

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine: then no proxy can reach it."""
        return is_loopback(self.host)


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
    return ServerAddress(
        place + parts.path.rstrip("/"), parts.query, user, host, place,
        parts.scheme == "http" and not is_loopback(host),
        tuple(_secrets(parts.path, parts.query, user)),
    )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def written_forms(secret: str) -> set[str]:
    """How a secret may appear in what a server says of a request."""
    encoded = base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")
    return {
        secret, quote(secret, safe=""), quote_plus(secret), secret.replace('"', '\\"'), encoded,
        encoded.translate(_URL_SAFE),
    }


def _secrets(path: str, query: str, user: tuple[str, str] | None) -> list[str]:
    found: set[str] = set()
    if user is not None:
        found |= {*user, base64.b64encode(":".join(user).encode()).decode()}
    found |= {value for name, value in parse_qsl(query) if name.lower() not in _PUBLIC_PARAMETERS}
    segments = (unquote(segment) for segment in path.split("/"))
    found |= {one for one in segments if len(one) >= _MIN_PATH_SECRET and one.lower() not in _PATH_WORDS}
    forms = {form for secret in found if len(secret) >= _MIN_SECRET for form in written_forms(secret)}
    return sorted(forms, key=len, reverse=True)
