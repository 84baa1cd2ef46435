"""A node user's session: what is typed, and what is told."""

from __future__ import annotations

import asyncio

import pytest

from console import Command
from console.usage import UsageError, parse
from kvstore.operations import Answer, Candidate, Choose, Create, Query
from server.session import COMMANDS
from tests.unit.server.session_tools import PAPER, Bench, bench


def test_a_conversation() -> None:
    async def scenario(b: Bench) -> None:
        assert await b.do("create c1") == {"ok": True, "context": "c1"}
        assert await b.do("query c1 What is 'it'?") == {"ok": True, "context": "c1", "turn": 1}
        b.candidates("c1", 1, 1, 2)
        b.node.apply(Candidate("c1", 1, 3, None, "timeout", "slow", 30), 3)
        assert await b.do("choose c1 2") == {"ok": True, "context": "c1", "turn": 1, "node": 2}
        shown = await b.do("view c1")
        assert shown == {
            "ok": True, "context": "c1", "stale": False,
            "turns": [{
                "query": "What is 'it'?", "kind": "query", "chosen": 2, "cancelled": False,
                "candidates": {
                    "1": {"text": "answer of 1", "model": "model-1", "seconds": 1.25},
                    "2": {"text": "answer of 2", "model": "model-2", "seconds": 1.25},
                    "3": {"error": "timeout", "model": "slow", "seconds": 30},
                },
            }],
        }
        await b.do("create c0")
        assert await b.do("cancel c0") == {"ok": False, "context": "c0", "error": "'c0' has no open question"}
        everything = await b.do("viewall")
        assert [found["context"] for found in everything["conversations"]] == ["c1", "c0"]
        assert everything["conversations"][0]["turns"] == shown["turns"] and everything["stale"] is False

    bench(scenario)


def test_writes_are_submitted_when_typed() -> None:
    async def scenario(b: Bench) -> None:
        results = [b.type(text) for text in ("create c1", "query c1 a", "choose c1 2", "ask c1 b", "cancel c1")]
        await asyncio.sleep(0)
        submitted = [type(command).__name__ for command, _ in b.node.waiting]
        assert submitted == ["Create", "Query", "Choose", "Ask", "Cancel"]
        while b.node.waiting:
            b.node.decide()
        assert [(await result)["ok"] for result in results] == [True, True, False, False, True]

    bench(scenario)


def test_choose_means_the_turn_that_the_user_sees() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        await b.do("query c1 a")
        b.type("choose c1 3")
        assert b.node.waiting[0][0] == Choose("c1", 3, 1)
        b.type("choose c1 4")
        assert b.node.waiting[1][0] == Choose("c1", 4, None), "own commands are under way"

    bench(scenario)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("create " + "c" * 65, "64 characters"),
        ("create a\u200bb", "printable characters without spaces; type create C, for example: create c1"),
        ("query c1 \u2800", "the text is blank; type query C TEXT, for example: query c1 What is Paxos?"),
        ("ask c1 " + "x" * 131_073, "too long"),
        ("choose c1 two", "'two' is not the number of a node; type choose C N"),
        ("choose c1 -1", "not the number"),
        ("choose c1 0", "no node 0"),
        ("choose c1 99999999999999999999", "not the number"),
        ("choose c1 ٣", "not the number"),
    ],
)
def test_what_cannot_be_is_refused_at_once(typed: str, said: str) -> None:
    async def scenario(b: Bench) -> None:
        result = await b.type(typed)
        assert not result["ok"] and said in result["error"]
        assert not b.node.waiting

    bench(scenario)


def test_a_view_begins_after_the_earlier_commands() -> None:
    async def scenario(b: Bench) -> None:
        create = b.type("create c1")
        view = b.type("view c1")
        later = b.type("create c2")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not b.node.reads and len(b.node.waiting) == 2
        b.node.decide()
        assert (await create)["ok"] and (await view)["ok"]
        assert not later.done()

    bench(scenario)


def test_a_view_without_a_majority_is_marked() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        b.node.majority = False
        result = await b.do("view c1")
        assert result["ok"] and result["stale"]
        assert b.node.reads[-1].cancelled(), "nobody waits for it any more"
        command = Command(1, "view", ["c1"])
        assert "(possibly stale: no majority reachable)" in b.session.show(command, result, PAPER)
        missing = await b.do("view c9")
        assert not missing["ok"] and missing["stale"] and "no conversation 'c9'" in missing["error"]
        assert (await b.do("viewall"))["stale"]
        assert b.session.waiting_for(command) == "no majority reachable"

    bench(scenario)


def test_a_busy_node_gets_the_rest_later_in_order() -> None:
    async def scenario(b: Bench) -> None:
        results = [b.type(f"create c{number}") for number in range(10)]
        assert len(b.node.waiting) == 2
        while b.node.waiting:
            b.node.decide()
            await asyncio.sleep(0)
        assert all([(await result)["ok"] for result in results])
        assert list(b.node.store.conversations) == [f"c{number}" for number in range(10)]

    bench(scenario, room=2)


def test_a_node_that_is_busy_with_others_refuses() -> None:
    async def scenario(b: Bench) -> None:
        for text in ("create c1", "viewall"):
            result = await b.type(text)
            assert not result["ok"] and result["error"].startswith("busy")

    bench(scenario, room=0)


def test_a_node_that_stops_says_that_the_outcome_is_not_known() -> None:
    async def scenario(b: Bench) -> None:
        result = b.type("create c1")
        await asyncio.sleep(0)
        b.session.on_outcome_unknown(b.node.waiting[0][1])
        assert "may still take effect" in (await result)["error"]

    bench(scenario)


def test_a_user_who_leaves_cancels_nothing_at_the_node() -> None:
    async def scenario(b: Bench) -> None:
        result = b.type("create c1")
        await asyncio.sleep(0)
        result.cancel()
        await asyncio.wait([result])
        b.node.decide()
        assert "c1" in b.node.store.conversations

    bench(scenario)


def test_answers_are_counted_and_listed_where_the_question_was_typed() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        await b.do("query c1 What?")
        assert b.shown == [], "results say these"
        b.candidates("c1", 1, 4, 1)
        b.node.apply(Candidate("c1", 1, 3, None, "timeout", "slow", 30), 3)
        assert b.shown == [
            "c1: 1 of 5 answers in", "c1: 2 of 5 answers in",
            "c1: 3 of 5 answers in (node 3 has none: timeout), view c1 shows them",
        ]
        last = b.events[-1]
        assert last == {
            "event": "candidate", "context": "c1", "turn": 1, "node": 3, "have": 3, "of": 5,
            "error": "timeout", "model": "slow", "seconds": 30,
        }
        b.candidates("c1", 1, 5, 2)
        listed = b.shown[-1]
        assert "[1] model-1 1.2 s" in listed and "answer of 5" in listed and "no answer: timeout" in listed
        assert listed.index("[1]") < listed.index("[2]") < listed.index("[5]") < listed.index("choose c1 N")
        await b.do("choose c1 1")
        assert b.shown[-1] == listed

    bench(scenario)


def test_elsewhere_one_line_says_it() -> None:
    async def scenario(b: Bench) -> None:
        b.node.apply(Create("c1"), 3)
        b.node.apply(Query("c1", "What\nis \x1b[2Jthis?"), 3)
        b.candidates("c1", 1, 1, 2, 3, 4, 5)
        b.node.apply(Choose("c1", 4), 5)
        assert b.shown == [
            "c1: created", "c1: question from node 3: What is ^[[2Jthis?", "c1: 5 answers in: view c1",
            "c1: node 4's answer chosen",
        ]
        assert [event["event"] for event in b.events] == ["created", "query", *["candidate"] * 5, "chosen"]
        assert b.events[1] == {
            "event": "query", "context": "c1", "turn": 1, "origin": 3, "text": "What\nis \x1b[2Jthis?"
        }
        assert b.events[-1] == {"event": "chosen", "context": "c1", "turn": 1, "origin": 5, "node": 4}
        b.node.apply(Choose("c1", 2), 5)
        assert len(b.events) == 8, "what was refused is no news"

    bench(scenario)


def test_the_leaders_answer_is_shown_everywhere() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        await b.do("ask c1 What?")
        b.node.apply(Answer("c1", 1, 4, None, "timeout", "m", 1), 4)
        b.node.apply(Answer("c1", 1, 5, "This.", None, "m", 2), 5)
        assert b.shown[0] == "c1: node 4 has no answer: timeout; the next one is asked"
        assert b.shown[1] == "c1: answer\n    [5] m 2.0 s\n        This."
        assert b.events[-1] == {
            "event": "answer", "context": "c1", "turn": 1, "node": 5, "text": "This.", "model": "m", "seconds": 2
        }

    bench(scenario)


def test_leaders() -> None:
    async def scenario(b: Bench) -> None:
        for leader in (None, 4, 4, None, 5):
            b.session.on_leader(leader)
        assert [event["leader"] for event in b.events] == [4, None, 5]
        assert b.shown == ["leader: node 4", "leader: none", "leader: node 5"]

    bench(scenario)


def test_status_does_not_wait() -> None:
    async def scenario(b: Bench) -> None:
        b.type("create c1")
        result = await b.type("status")
        assert result["ok"] and result["queued"] == 1
        assert "leader    4" in b.session.show(Command(1, "status"), result, PAPER)
        line = "node 2 follower | leader 4 | <4,4,8> | decided 7 applied 7 | queue 1 | links 3/4"
        assert b.session.status_line() == line and b.session.status_line(80) == line
        medium = "node 2 follower | leader 4 | <4,4,8> | applied 7 of 7 | queue 1 | links 3/4"
        assert b.session.status_line(79) == medium == b.session.status_line(len(medium))
        assert b.session.status_line(60) == "2 follower|leader 4|<4,4,8>|7/7|q1|links 3"

    bench(scenario)


def test_completion() -> None:
    async def scenario(b: Bench) -> None:
        await b.do("create c1")
        await b.do("create c2")
        await b.do("query c1 a")
        b.candidates("c1", 1, 3, 5)
        b.node.apply(Candidate("c1", 1, 4, None, "timeout"), 4)
        assert list(b.session.complete(["view"])) == ["c1", "c2"]
        assert list(b.session.complete(["choose", "c1"])) == ["3", "5", "auto"]
        assert list(b.session.complete(["choose"])) == ["c1", "c2", "3", "5", "auto"], "only c1 waits for a choice"
        assert list(b.session.complete(["view", "c1"])) == ["--all-candidates", "--votes"]
        for words in (["create"], ["status"], ["cancel", "c1"], ["choose", "c2"], ["choose", "c9"]):
            assert list(b.session.complete(words)) == []

    bench(scenario)


def test_every_example_is_a_command() -> None:
    for usage in COMMANDS.values():
        assert parse(1, usage.example, COMMANDS).name == usage.name
        with pytest.raises(UsageError):
            parse(1, usage.name + " a" * (usage.most + 1) if not usage.text else usage.name, COMMANDS)
