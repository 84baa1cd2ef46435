"""What models cost, for whoever wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta

MILLION = 1_000_000
_Amount = Annotated[float, Meta(ge=0, le=1e6)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a million tokens, read and written, in any currency."""

    tokens_in: _Amount
    tokens_out: _Amount

    def of(self, tokens_in: int, tokens_out: int) -> float:
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / MILLION


NO_PRICES: Final[Mapping[str, Price]] = MappingProxyType({})
