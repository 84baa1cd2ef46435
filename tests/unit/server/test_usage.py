"""What the answers of a conversation took."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from api.conversation import Usage
from config.prices import NO_PRICES, Price
from kvstore.conversation import Conversation, Kind, Response, Turn
from server.usage import usage


def test_all_responses_count_by_node_and_price() -> None:
    said = Response("so", None, "m", 1.5, tokens_in=1000, tokens_out=200)
    cut = Response("th", None, "m", 30.0, tokens_out=50)
    failed = Response(None, "no key", "other", 0.25)
    turns = [Turn(Kind.QUERY, "why?", {1: said, 2: failed}), Turn(Kind.ASK, "who?", {1: cut})]
    conversation = Conversation("c", 1, 1, turns)
    without = Usage(responses=1, seconds=0.25, tokens_in=0, tokens_out=0)
    counted = Usage(responses=2, seconds=31.5, tokens_in=1000, tokens_out=250)
    assert usage(conversation, NO_PRICES) == {1: counted, 2: without}
    priced = usage(conversation, {"m": Price(2.0, 8.0)})
    assert priced == {1: replace(counted, cost=0.004), 2: without} and priced[2].cost is UNSET


def test_whatever_an_import_says_the_sum_is_a_number() -> None:
    turns = [Turn(Kind.QUERY, "why?", {1: Response("so", None, "m", 1e308)}) for _ in range(2)]
    counted = usage(Conversation("c", 1, 1, turns), NO_PRICES)[1]
    assert msgspec.json.decode(msgspec.json.encode(counted), type=Usage) == counted
