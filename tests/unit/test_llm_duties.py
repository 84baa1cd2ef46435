"""What a node owes, read off the conversations."""

from __future__ import annotations

import pytest

from kvstore.conversation import Kind, Response, Turn
from llm.duties import Duty, owed, owed_in
from llm.provider import Message
from tests.unit.llm_tools import chosen, conversation

ERROR = Response(None, "no key", "m", 0.1)
TEXT = Response("hello", None, "m", 0.1)


def test_an_open_query_is_owed_by_every_node_that_has_not_responded() -> None:
    open_query = conversation("c", Turn(Kind.QUERY, "hi", {2: TEXT, 3: ERROR}))
    assert owed_in(open_query, 1, leading=False) == Duty("c", 1, "candidate", [Message("user", "hi")])
    assert owed_in(open_query, 2, leading=True) is None
    assert owed_in(open_query, 3, leading=False) is None, "an error is a response: not asked again and again"


def test_an_open_ask_is_owed_by_the_leader_alone() -> None:
    open_ask = conversation("c", Turn(Kind.ASK, "hi", {2: ERROR}))
    assert owed_in(open_ask, 1, leading=False) is None
    assert owed_in(open_ask, 2, leading=True) is None
    assert owed_in(open_ask, 1, leading=True) == Duty("c", 1, "answer", [Message("user", "hi")])


@pytest.mark.parametrize("turn", [chosen("hi", "hello"), Turn(Kind.QUERY, "hi", cancelled=True)])
def test_a_closed_turn_is_owed_by_nobody(turn: Turn) -> None:
    assert owed_in(conversation("c", turn), 5, leading=True) is None
    assert owed_in(conversation("c"), 5, leading=True) is None


def test_the_chat_is_what_was_chosen() -> None:
    talk = conversation(
        "c",
        Turn(Kind.QUERY, "one", {1: TEXT, 2: Response("chosen one", None, "m", 1)}, chosen=2),
        Turn(Kind.QUERY, "given up", {1: TEXT}, cancelled=True),
        Turn(Kind.ASK, "two", {4: Response("answer two", None, "m", 1)}, chosen=4),
        Turn(Kind.QUERY, "three", {3: Response("not chosen yet", None, "m", 1)}),
    )
    duty = owed_in(talk, 1, leading=False)
    assert duty is not None
    assert (duty.turn, duty.key) == (4, ("c", 4, "candidate"))
    assert [(message.role, message.text) for message in duty.messages] == [
        ("user", "one"), ("assistant", "chosen one"), ("user", "two"), ("assistant", "answer two"), ("user", "three"),
    ]


def test_all_conversations_in_order() -> None:
    talks = {
        name: conversation(name, Turn(kind, "q"))
        for name, kind in {"b": Kind.QUERY, "a": Kind.ASK, "c": Kind.QUERY}.items()
    }
    assert [duty.context for duty in owed(talks, 1, leading=False)] == ["b", "c"]
    assert [duty.context for duty in owed(talks, 1, leading=True)] == ["b", "a", "c"]
