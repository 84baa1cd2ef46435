"""A request, ready to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Post(NamedTuple):
    url: str
    content: bytes
    headers: Mapping[str, str]
