"""What the answers of a conversation took: tokens, seconds and, where a price is configured, money."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from msgspec import UNSET

from api.conversation import Usage
from config.prices import Price
from kvstore.conversation import Conversation, Response


def usage(conversation: Conversation, prices: Mapping[str, Price]) -> dict[int, Usage]:
    """By node, of all that its LLM wrote and that is still there: what was asked for again is not."""
    responses: dict[int, list[Response]] = {}
    for turn in conversation.turns:
        for node, response in turn.candidates.items():
            responses.setdefault(response.by or node, []).append(response)
    return {node: _sum(of_node, prices) for node, of_node in sorted(responses.items())}


def _sum(responses: list[Response], prices: Mapping[str, Price]) -> Usage:
    priced = [(response, prices[response.model]) for response in responses if response.model in prices]
    cost = sum(price.of(response.tokens_in, response.tokens_out) for response, price in priced)
    seconds = min(sum(response.seconds for response in responses), sys.float_info.max)  # JSON has no infinity
    return Usage(
        responses=len(responses), seconds=round(seconds, 3),
        tokens_in=sum(response.tokens_in for response in responses),
        tokens_out=sum(response.tokens_out for response in responses), cost=round(cost, 9) if priced else UNSET,
    )
