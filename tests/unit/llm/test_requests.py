"""What a node has to ask its LLM, read off the conversations."""

from __future__ import annotations

import pytest

from kvstore.conversation import Kind, Poll, Response, Turn, Vote
from llm.provider import Message
from llm.requests import Fate, Request, View, fate, pending, pending_in, responder
from tests.unit.llm.llm_tools import chosen, conversation

LED = View(9, frozenset({1, 2, 3}))
ERROR = Response(None, "no key", "m", 0.1)
TEXT = Response("hello", None, "m", 0.1)


def test_an_open_query_is_asked_of_every_node_that_has_not_responded() -> None:
    open_query = conversation("c", Turn(Kind.QUERY, "hi", {2: TEXT, 3: ERROR}))
    request = pending_in(open_query, 1, LED)
    assert request is not None and request.key == ("c", 1, "candidate") and request.messages == [Message("user", "hi")]
    assert pending_in(open_query, 2, View(2)) is None
    assert pending_in(open_query, 3, LED) is None, "an error is a response: not asked again and again"


def test_an_open_ask_is_asked_of_the_leader_alone() -> None:
    open_ask = conversation("c", Turn(Kind.ASK, "hi", {2: ERROR}))
    assert pending_in(open_ask, 1, LED) is None
    assert pending_in(open_ask, 2, View(2)) is None
    request = pending_in(open_ask, 1, View(1))
    assert request is not None and request.key == ("c", 1, "answer") and request.messages == [Message("user", "hi")]


@pytest.mark.parametrize("turn", [chosen("hi", "hello"), Turn(Kind.QUERY, "hi", cancelled=True)])
def test_a_closed_turn_asks_nobody(turn: Turn) -> None:
    assert pending_in(conversation("c", turn), 5, View(5)) is None
    assert pending_in(conversation("c"), 5, View(5)) is None


def test_the_chat_is_what_was_chosen() -> None:
    talk = conversation(
        "c",
        Turn(Kind.QUERY, "one", {1: TEXT, 2: Response("chosen one", None, "m", 1)}, chosen=2),
        Turn(Kind.QUERY, "given up", {1: TEXT}, cancelled=True),
        Turn(Kind.ASK, "two", {4: Response("answer two", None, "m", 1)}, chosen=4),
        Turn(Kind.QUERY, "three", {3: Response("not chosen yet", None, "m", 1)}),
    )
    request = pending_in(talk, 1, LED)
    assert request is not None
    assert (request.turn, request.key) == (4, ("c", 4, "candidate"))
    assert [(message.role, message.text) for message in request.messages] == [
        ("user", "one"), ("assistant", "chosen one"), ("user", "two"), ("assistant", "answer two"), ("user", "three"),
    ]


def test_all_conversations_in_order() -> None:
    talks = {
        name: conversation(name, Turn(kind, "q"))
        for name, kind in {"b": Kind.QUERY, "a": Kind.ASK, "c": Kind.QUERY}.items()
    }
    assert [request.context for request in pending(talks, 1, LED)] == ["b", "c"]
    assert [request.context for request in pending(talks, 1, View(1))] == ["b", "a", "c"]


def test_after_a_failure_the_next_best_node_answers() -> None:
    failed: dict[int, Response] = {}
    turn = Turn(Kind.ASK, "hi", failed)
    view = View(4, frozenset({1, 3, 4}))
    assert responder(turn, 2, view) == 4, "the leader first"
    failed[4] = ERROR
    assert responder(turn, 2, view) == 1, "then by number"
    failed[1] = ERROR
    assert responder(turn, 2, view) == 2, "itself is there too"
    assert responder(turn, 3, View(4, frozenset({1, 4, 5}))) == 3, "who is not there is passed over"
    failed |= {2: ERROR, 3: ERROR}
    assert responder(turn, 2, view) is None
    assert responder(Turn(Kind.ASK, "hi", {}), 1, View(None, frozenset({2, 3}))) is None


def test_who_was_asked_again_is_asked_for_another_round() -> None:
    turn = Turn(Kind.QUERY, "hi", {2: TEXT}, retries={0: 1, 2: 2})
    assert pending_in(conversation("c", turn), 2, LED) is None
    turn.candidates = {}
    requests = [pending_in(conversation("c", turn), node, LED) for node in (1, 2)]
    assert [request and request.round for request in requests] == [1, 3]


def test_a_poll_asks_every_node_once() -> None:
    turn = Turn(Kind.QUERY, "hi", {2: TEXT, 3: TEXT}, poll=Poll(2, [2, 3], {3: Vote([2, 3], None, "m")}))
    request = pending_in(conversation("c", turn), 1, LED)
    assert request is not None and (request.key, request.round) == (("c", 1, "ranking"), 2)
    assert sorted(request.ranked) == [2, 3]
    assert pending_in(conversation("c", turn), 3, LED) is None
    turn.poll = Poll(2, [2, 3], {}, closed=True)
    assert pending_in(conversation("c", turn), 2, LED) is None


ANSWER = Request("c", 1, "answer", list, created=1)
CANDIDATE = Request("c", 1, "candidate", list, created=1)
RANKING = Request("c", 1, "ranking", list, 1, created=1)
OF_ANOTHER = Request("c", 1, "candidate", list, created=7)


@pytest.mark.parametrize(
    ("request_", "turn", "view", "expected"),
    [
        (CANDIDATE, Turn(Kind.QUERY, "hi"), LED, Fate.KEEP),
        (CANDIDATE, Turn(Kind.QUERY, "hi", {3: TEXT, 4: TEXT}, poll=Poll(1, [3, 4])), LED, Fate.KEEP),
        (CANDIDATE, Turn(Kind.QUERY, "hi", {1: TEXT}), LED, Fate.DROP),
        (CANDIDATE, Turn(Kind.QUERY, "hi", retries={0: 1}), LED, Fate.DROP),
        (CANDIDATE, Turn(Kind.QUERY, "hi", retries={2: 1}), LED, Fate.KEEP),
        (CANDIDATE, Turn(Kind.QUERY, "hi", cancelled=True), LED, Fate.DROP),
        (OF_ANOTHER, Turn(Kind.QUERY, "hi"), LED, Fate.DROP),
        (ANSWER, Turn(Kind.ASK, "hi"), View(1), Fate.KEEP),
        (ANSWER, Turn(Kind.ASK, "hi"), LED, Fate.FINISH),
        (ANSWER, Turn(Kind.ASK, "hi"), View(None), Fate.FINISH),
        (ANSWER, Turn(Kind.ASK, "hi", {9: ERROR}), LED, Fate.KEEP),
        (ANSWER, Turn(Kind.ASK, "hi", retries={0: 1}), LED, Fate.DROP),
        (ANSWER, Turn(Kind.ASK, "hi", {9: TEXT}, chosen=9), LED, Fate.DROP),
        (RANKING, Turn(Kind.QUERY, "hi", {3: TEXT, 4: TEXT}, poll=Poll(1, [3, 4])), LED, Fate.KEEP),
        (RANKING, Turn(Kind.QUERY, "hi", {3: TEXT, 4: TEXT}, poll=Poll(1, [3, 4], closed=True)), LED, Fate.DROP),
        (RANKING, Turn(Kind.QUERY, "hi", {3: TEXT, 4: TEXT}, poll=Poll(2, [3, 4])), LED, Fate.DROP),
        (RANKING, Turn(Kind.QUERY, "hi", {3: TEXT, 4: TEXT}, poll=Poll(1, [3], {1: Vote([3], None, "m")})), LED,
         Fate.DROP),
    ],
)
def test_what_has_begun_goes_on_only_if_it_can_still_count(
    request_: Request, turn: Turn, view: View, expected: Fate
) -> None:
    assert fate(request_, conversation("c", turn), 1, view) is expected
    assert fate(request_, None, 1, view) is Fate.DROP
