"""A node user's session: commands and events."""

from __future__ import annotations

import asyncio

import pytest

from api.errors import InvalidCommand
from api.node_commands import CreateCommand
from console import UsageError
from console.node.table import NODE_TABLE
from kvstore.operations import (
    AboutTurn,
    Answer,
    AnswerInFull,
    Cancel,
    Candidate,
    Choose,
    Create,
    Delete,
    Fork,
    IfCreatedAt,
    Import,
    Query,
    Rename,
    Retry,
    StartPoll,
)
from server.explain_text import Phase, Sentence
from server.names import unusable
from tests.unit.server.session_tools import Prompt, at_a_prompt


def test_a_conversation() -> None:
    async def scenario(user: Prompt) -> None:
        assert await user.do("create c1") == {"ok": True, "context": "c1"}
        assert await user.do("query c1 What is 'it'?") == {"ok": True, "context": "c1", "turn": 1, "created": 1}
        user.candidates("c1", 1, 1, 2)
        user.engine.apply(Candidate("c1", 1, 3, None, "timeout", "slow", 30), 3)
        assert await user.do("choose c1 2") == {"ok": True, "context": "c1", "turn": 1, "node": 2}
        shown = await user.do("view c1")
        assert shown.pop("usage")["3"] == {"responses": 1, "seconds": 30, "tokens_in": 0, "tokens_out": 0}
        assert shown == {
            "ok": True, "context": "c1", "stale": False, "created": 1,
            "turns": [{
                "query": "What is 'it'?", "kind": "query", "chosen": 2, "cancelled": False,
                "candidates": {
                    "1": {"text": "answer of 1", "model": "model-1", "seconds": 1.25},
                    "2": {"text": "answer of 2", "model": "model-2", "seconds": 1.25},
                    "3": {"error": "timeout", "model": "slow", "seconds": 30},
                },
            }],
        }
        await user.do("create c0")
        assert await user.do("cancel c0") == {"ok": False, "context": "c0", "error": "'c0' has no open question"}
        everything = await user.do("viewall")
        assert [found["context"] for found in everything["conversations"]] == ["c1", "c0"]
        assert everything["conversations"][0]["turns"] == shown["turns"] and everything["stale"] is False

    at_a_prompt(scenario)


def test_writes_are_submitted_when_typed() -> None:
    async def scenario(user: Prompt) -> None:
        results = [user.type(text) for text in ("create c1", "query c1 a", "choose c1 2", "ask c1 b", "cancel c1")]
        await asyncio.sleep(0)
        submitted = [type(command).__name__ for command, _ in user.engine.waiting]
        assert submitted == ["Create", "Query", "Choose", "Ask", "Cancel"]
        while user.engine.waiting:
            user.engine.decide()
        assert [(await result)["ok"] for result in results] == [True, True, False, False, True]

    at_a_prompt(scenario)


def test_choose_means_the_turn_that_the_user_sees() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 a")
        user.type("choose c1 3")
        assert user.engine.waiting[0][0] == IfCreatedAt(1, Choose("c1", 3, 1))
        user.type("choose c1 4")
        assert user.engine.waiting[1][0] == Choose("c1", 4, None), "own commands are under way"

    at_a_prompt(scenario)


@pytest.mark.parametrize(("line", "operation"), [
    ("choose c1 3", Choose("c1", 3, 1)), ("choose c1 auto", StartPoll("c1", 1)), ("cancel c1", Cancel("c1", 1)),
    ("retry c1", Retry("c1", 1)),
])
def test_what_was_meant_for_a_deleted_conversation_does_nothing_to_its_namesake(
    line: str, operation: AboutTurn
) -> None:
    async def scenario(user: Prompt) -> None:
        for made in (Create("c0"), Create("c1"), Query("c1", "a")):
            user.engine.apply(made, 5)
        user.candidates("c1", 1, 3, 4)
        typed = user.type(line)
        assert user.engine.waiting[0][0] == IfCreatedAt(2, operation)
        for again in (Delete("c1"), Create("c1"), Query("c1", "b")):
            user.engine.apply(again, 5)
        user.candidates("c1", 1, 3, 4)
        before = user.engine.store.digest()
        user.engine.decide()
        assert (await typed)["error"] == "'c1' is another conversation now: the one that was meant was deleted"
        assert user.engine.store.digest() == before

    at_a_prompt(scenario)


def test_a_program_means_the_turn_that_is_open_when_its_command_is_decided() -> None:
    """It may know from another node of a question that this one has not applied."""

    async def scenario(user: Prompt) -> None:
        user.open(on_screen=False)
        await user.do("create c1")
        await user.do("query c1 a")
        results = [user.type(line) for line in ("cancel c1", "retry c1", "choose c1 3", "choose c1 auto")]
        assert [operation.turn for operation, _ in user.engine.waiting] == [None] * 4  # type: ignore[union-attr]
        user.engine.apply(Cancel("c1"), 5)
        user.engine.apply(Query("c1", "b"), 5)
        user.engine.decide()
        assert (await results[0])["turn"] == 2

    at_a_prompt(scenario)


def test_a_prompt_names_only_an_open_turn_and_hears_what_is_true_now() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 a")
        chosen, given_up = user.type("choose c1 3"), None
        for operation in (Cancel("c1"), Query("c1", "b")):
            user.engine.apply(operation, 5)
        user.engine.decide()
        assert (await chosen)["error"] == "turn 1 is closed; turn 2 is open since"
        user.engine.apply(Cancel("c1"), 5)
        given_up = user.type("cancel c1")
        assert user.engine.waiting[0][0] == IfCreatedAt(1, Cancel("c1", None)), "none is open on the screen"
        user.engine.apply(Query("c1", "c"), 5)
        user.engine.decide()
        assert (await given_up)["turn"] == 3

    at_a_prompt(scenario)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("create " + "c" * 65, "64 characters"),
        ("create a\u200bb", "printable characters without spaces; type create C, for example: create c1"),
        ("query c1 \u2800", "the text is blank; type query C TEXT, for example: query c1 What is Paxos?"),
        ("ask c1 " + "x" * 131_073, "too long"),
        ("choose c1 two", "'two' is not the number of a node; type choose C N"),
        ("choose c1 -1", "not the number"),
        ("choose c1 65536", "no node 65536"),
        ("choose c1 99999999999999999999", "not the number"),
        ("choose c1 ٣", "not the number"),
    ],
)
def test_what_cannot_be_is_refused_at_once(typed: str, said: str) -> None:
    async def scenario(user: Prompt) -> None:
        result = await user.type(typed)
        assert not result["ok"] and said in result["error"]
        assert not user.engine.waiting

    at_a_prompt(scenario)


def test_a_view_begins_after_the_earlier_commands() -> None:
    async def scenario(user: Prompt) -> None:
        create = user.type("create c1")
        view = user.type("view c1")
        later = user.type("create c2")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not user.engine.reads and len(user.engine.waiting) == 2
        user.engine.decide()
        assert (await create)["ok"] and (await view)["ok"]
        assert not later.done()

    at_a_prompt(scenario)


def test_a_view_without_a_majority_is_marked() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        user.engine.majority = False
        result = await user.do("view c1")
        assert result["ok"] and result["stale"]
        assert user.engine.reads[-1].cancelled(), "nobody waits for it any more"
        assert "(possibly stale: no majority reachable)" in result.shown
        missing = await user.do("view c9")
        assert not missing["ok"] and missing["stale"] and "no conversation 'c9'" in missing["error"]
        assert (await user.do("viewall"))["stale"]
        assert user.executor.waiting_for(NODE_TABLE.parse(1, "view c1")) == "no majority reachable"

    at_a_prompt(scenario)


SENTENCE = "3 of 5 voters have lost their disks (nodes 1, 3, 4): no quorum of voters can form; export works; "


def test_without_a_quorum_of_disks_nothing_waits_and_everything_says_why() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        under_way, behind = user.type("create c2"), user.type("view c1")
        await asyncio.sleep(0)
        user.engine.lost, user.engine.majority = (1, 3, 4), False
        user.session.on_quorum_lost()
        told = await under_way
        assert not told["ok"] and told["error"].startswith(SENTENCE)
        assert told["error"].endswith("It takes effect only if a lost disk turns up again")
        assert (await behind)["stale"], "it waits for nothing more"
        submitted = user.engine.tickets
        for command in ("create c3", "query c1 why?", "choose c1 2", "members remove 5"):
            refused = await user.type(command)
            assert not refused["ok"] and refused["error"].startswith(SENTENCE), command
        assert user.engine.tickets == submitted, "nothing that was refused may take effect later"
        assert (await user.type("viewall"))["stale"] and user.engine.reads == []
        status = await user.type("status")
        assert status["lost"] == [1, 3, 4] and status["notice"].startswith(SENTENCE)
        user.engine.decide()
        user.engine.lost, user.engine.majority = (), True
        assert [each["context"] for each in (await user.do("viewall"))["conversations"]] == ["c1", "c2"]

    at_a_prompt(scenario)


def test_a_busy_node_gets_the_rest_later_in_order() -> None:
    async def scenario(user: Prompt) -> None:
        results = [user.type(f"create c{number}") for number in range(10)]
        assert len(user.engine.waiting) == 2
        while user.engine.waiting:
            user.engine.decide()
            await asyncio.sleep(0)
        assert all([(await result)["ok"] for result in results])
        assert list(user.engine.store.conversations) == [f"c{number}" for number in range(10)]

    at_a_prompt(scenario, room=2)


def test_a_node_that_is_busy_with_others_refuses() -> None:
    async def scenario(user: Prompt) -> None:
        for text in ("create c1", "viewall"):
            result = await user.type(text)
            assert not result["ok"] and result["error"].startswith("busy")

    at_a_prompt(scenario, room=0)


def test_what_a_member_does_not_know_is_refused_at_once_and_the_rest_goes_on() -> None:
    async def scenario(user: Prompt) -> None:
        user.engine.not_understood = Query
        results = [user.type(line) for line in ("create c1", "query c1 a", "create c2")]
        while user.engine.waiting:
            user.engine.decide()
        assert [(await result)["ok"] for result in results] == [True, False, True]
        assert (await results[1])["error"] == "node 3 runs an older release"

    at_a_prompt(scenario)


def test_a_node_that_stops_says_that_the_outcome_is_not_known() -> None:
    async def scenario(user: Prompt) -> None:
        result = user.type("create c1")
        await asyncio.sleep(0)
        user.session.on_outcome_unknown(user.engine.waiting[0][1])
        assert "may still take effect" in (await result)["error"]

    at_a_prompt(scenario)


def test_a_user_who_leaves_cancels_nothing_at_the_node() -> None:
    async def scenario(user: Prompt) -> None:
        result = user.type("create c1")
        await asyncio.sleep(0)
        result.cancel()
        await asyncio.wait([result])
        user.engine.decide()
        assert "c1" in user.engine.store.conversations

    at_a_prompt(scenario)


def test_answers_are_counted_and_listed_where_the_question_was_typed() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("query c1 What?")
        assert user.shown == [], "results say these"
        user.candidates("c1", 1, 4, 1)
        user.engine.apply(Candidate("c1", 1, 3, None, "timeout", "slow", 30), 3)
        assert user.shown == [
            "c1: 1 of 5 answers in", "c1: 2 of 5 answers in",
            "c1: 3 of 5 answers in (node 3 failed: timeout), view c1 shows them",
        ]
        last = user.events[-1]
        assert last == {
            "event": "candidate", "context": "c1", "turn": 1, "node": 3, "have": 3, "of": 5,
            "error": "timeout", "model": "slow", "seconds": 30,
        }
        user.candidates("c1", 1, 5, 2)
        listed = user.shown[-1]
        assert "[1] model-1 1.2 s" in listed and "answer of 5" in listed and "no answer: timeout" in listed
        assert listed.index("[1]") < listed.index("[2]") < listed.index("[5]") < listed.index("choose c1 N")
        await user.do("choose c1 1")
        assert user.shown[-1] == listed

    at_a_prompt(scenario)


def test_elsewhere_one_line_says_it() -> None:
    async def scenario(user: Prompt) -> None:
        user.engine.apply(Create("c1"), 3)
        user.engine.apply(Query("c1", "What\nis \x1b[2Jthis?"), 3)
        user.candidates("c1", 1, 1, 2, 3, 4, 5)
        user.engine.apply(Choose("c1", 4), 5)
        assert user.shown == [
            "c1: created", "c1: question from node 3: What is ^[[2Jthis?", "c1: 5 answers in: view c1",
            "c1: node 4's answer chosen",
        ]
        assert [event["event"] for event in user.events] == ["created", "query", *["candidate"] * 5, "chosen"]
        assert user.events[1] == {
            "event": "query", "context": "c1", "turn": 1, "origin": 3, "text": "What\nis \x1b[2Jthis?"
        }
        assert user.events[-1] == {"event": "chosen", "context": "c1", "turn": 1, "origin": 5, "node": 4}
        user.engine.apply(Choose("c1", 2), 5)
        assert len(user.events) == 8, "what was refused is not told"

    at_a_prompt(scenario)


def test_effects_are_told_after_what_explains_them() -> None:
    async def scenario(user: Prompt) -> None:
        for tell in (lambda: user.engine.apply(Create("c1"), 3), lambda: user.session.on_leader(3)):
            await user.do("explain on")
            user.to_be_said = [Sentence(Phase.DECIDE, None, "decided")]
            tell()
            assert user.events[-2]["event"] == "explain", user.events
            await user.do("explain off")
        user.to_be_said = [Sentence(Phase.DECIDE, None, "decided")]
        user.session.on_leader(4)
        assert user.events[-2]["event"] != "explain"

    at_a_prompt(scenario)


@pytest.mark.parametrize("name", ["auto", "AUTO", "--force"])
def test_no_conversation_is_called_like_a_word_of_the_commands(name: str) -> None:
    async def scenario(user: Prompt) -> None:
        for operation in (Create(name), Fork(name, "c1", None), Rename("c1", name), Import(name, b"")):
            assert f"cannot be called '{name}'" in (unusable(operation) or "")
        with pytest.raises(InvalidCommand, match="cannot be called"):
            user.session.create(CreateCommand(name))
        assert not user.engine.waiting and unusable(Create("automatic")) is None

    at_a_prompt(scenario)


def test_the_leaders_answer_is_shown_everywhere() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("ask c1 What?")
        user.engine.apply(Answer("c1", 1, 4, None, "timeout", "m", 1), 4)
        user.engine.apply(Answer("c1", 1, 5, "This.", None, "m", 2), 5)
        assert user.shown[0] == "c1: node 4 has no answer: timeout; asking the next node"
        assert user.shown[1] == "c1: answer\n    [5] m 2.0 s\n        This."
        assert user.events[-1] == {
            "event": "answer", "context": "c1", "turn": 1, "node": 5, "have": 2, "of": 5, "text": "This.",
            "model": "m", "seconds": 2,
        }
        await user.do("ask c1 How long?")
        user.engine.apply(AnswerInFull("c1", 2, 5, "So.", None, "m", 2, tokens_in=9, tokens_out=3), 5)
        assert user.shown[-1] == "c1: answer\n    [5] m 2.0 s  3 tokens (1.5/s)\n        So."

    at_a_prompt(scenario)


def test_leaders() -> None:
    async def scenario(user: Prompt) -> None:
        for leader in (None, 4, 4, None, 5):
            user.session.on_leader(leader)
        assert [event["leader"] for event in user.events] == [4, None, 5]
        assert user.shown == ["leader: node 4", "leader: none", "leader: node 5"]

    at_a_prompt(scenario)


def test_status_does_not_wait() -> None:
    async def scenario(user: Prompt) -> None:
        user.type("create c1")
        result = await user.type("status")
        assert result["ok"] and result["queued"] == 1
        assert "leader    4" in result.shown
        line = "node 2 follower | leader 4 | <4,4,8> | decided 7 applied 7 | queue 1 | links 3/4"
        assert user.executor.status_line() == line and user.executor.status_line(80) == line
        medium = "node 2 follower | leader 4 | <4,4,8> | applied 7 of 7 | queue 1 | links 3/4"
        assert user.executor.status_line(79) == medium == user.executor.status_line(len(medium))
        assert user.executor.status_line(60) == "2 follower|leader 4|<4,4,8>|7/7|q1|links 3"
        assert user.executor.status_line(39) == "2 follower|leader 4|<4,4,8>|7/7|q1"

    at_a_prompt(scenario)


def test_completion() -> None:
    async def scenario(user: Prompt) -> None:
        await user.do("create c1")
        await user.do("create c2")
        await user.do("query c1 a")
        user.candidates("c1", 1, 3, 5)
        user.engine.apply(Candidate("c1", 1, 4, None, "timeout"), 4)
        for name in ("view", "last"):
            assert list(NODE_TABLE.complete(user.executor, [name])) == ["c1", "c2"]
        assert list(NODE_TABLE.complete(user.executor, ["choose", "c1"])) == ["3", "5", "auto", "synth"]
        choices = list(NODE_TABLE.complete(user.executor, ["choose"]))
        assert choices == ["c1", "c2", "3", "5", "auto", "synth"], "only c1 waits for a choice"
        assert list(NODE_TABLE.complete(user.executor, ["view", "c1"])) == ["--all-candidates", "--votes", "--thoughts"]
        for words in (["create"], ["status"], ["cancel", "c1"], ["choose", "c2"], ["choose", "c9"]):
            assert list(NODE_TABLE.complete(user.executor, words)) == []

    at_a_prompt(scenario)


def test_every_example_is_a_command() -> None:
    for entry in NODE_TABLE.entries.values():
        usage = entry.usage
        assert NODE_TABLE.parse(1, usage.example or usage.name).entry is entry
        with pytest.raises(UsageError):
            NODE_TABLE.parse(1, usage.name + " a" * (usage.most + 1) if not usage.text else usage.name)
