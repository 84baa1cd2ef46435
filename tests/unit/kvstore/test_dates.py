"""When a turn changed, as its row says."""

from __future__ import annotations

import pytest

from kvstore.operations import Answer, Ask, Candidate, Create, Query, StoreOperation
from kvstore.payloads import encode
from kvstore.store import Store


@pytest.mark.parametrize(("question", "response"), [
    (Query("c1", "why?", at=5), Candidate("c1", 1, 4, "so", None, at=9)),
    (Ask("c1", "why?", at=5), Answer("c1", 1, 4, "so", None, at=9)),
])
def test_a_response_has_a_date_of_its_own(question: StoreOperation, response: StoreOperation) -> None:
    store = Store()
    for position, operation in enumerate((Create("c1", at=1), question, response), 1):
        assert store.apply(position, encode(operation)).ok
    turn = store.conversations["c1"].turns[0]
    assert (turn.at, turn.candidates[4].at) == (5, 9)
