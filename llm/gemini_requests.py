"""What both of Google's SDKs are given, and what becomes of the requests that they make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llm.accommodation import Body
from llm.post import Post
from llm.provider import ProviderError

_OPTIONS = {"temperature": "temperature", "max_tokens": "max_output_tokens", "seed": "seed"}
_OF_THE_SENDER = ("accept", "accept-encoding", "connection", "content-length", "host", "transfer-encoding")
"""Headers that are for whoever sends a request."""


class Ingredients(NamedTuple):
    system: str | None
    contents: list[dict[str, Any]]
    options: dict[str, Any]


def ingredients(body: Body) -> Ingredients:
    """Of a request in the form that llm/accommodation.py adapts."""
    messages, system = body["messages"], None
    if messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    contents = [
        {"role": "user" if message["role"] == "user" else "model", "parts": [{"text": message["content"]}]}
        for message in messages
    ]
    return Ingredients(system, contents, {_OPTIONS[name]: value for name, value in body.items() if name in _OPTIONS})


def kept(url: str, content: str | bytes, headers: Mapping[str, str]) -> Post:
    """A request that an SDK would have sent."""
    encoded = content if isinstance(content, bytes) else content.encode(errors="replace")
    return Post(url, encoded, {name: one for name, one in headers.items() if name.lower() not in _OF_THE_SENDER})


def unprepared(error: Exception) -> ProviderError:
    """An SDK could not make a request. What it says may hold the key."""
    return ProviderError(f"Gemini's SDK cannot make a request ({type(error).__name__}): is the base_url right?")
