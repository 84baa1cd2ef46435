"""Answers as they are written: they reach who looks, in bounded pieces, whatever is lost; and nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest

from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    CandidateInFull,
    Create,
    Delete,
    Query,
    Regenerate,
    Retry,
    StoreOperation,
    Synthesize,
    Synthesized,
)
from kvstore.payloads import encode
from kvstore.store import Store
from llm.requests import Request, RequestKind
from server import drafts, own_drafts
from server.draft_messages import MAX_DRAFT_CHARS, PIECE_CHARS, Piece, Wanted, decode
from server.draft_messages import encode as encode_message
from server.drafts import Drafts
from tests.unit.llm.llm_tools import until

LONG = "0123456789" * 1_200


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_drafts, "EVERY_S", 0.002)
    monkeypatch.setattr(own_drafts, "_FIRST_PATIENCE_S", 0.01)
    monkeypatch.setattr(drafts, "RENEW_S", 0.01)


class Llm:
    """Of one node, which writes what the test says."""

    def __init__(self, node: Drafts) -> None:
        self.text = ""
        self.looked = 0
        self._node = node

    def writes(self, text: str, pieces: int = 1, turn: int = 1, kind: RequestKind = "candidate") -> None:
        if kind == "synthesis":
            self._node.on_progress(Request("c", turn, kind, list), pieces, lambda: text)
            return
        self.text = text
        self._node.on_progress(Request("c", turn, kind, list), pieces, self._look)

    def _look(self) -> str:
        self.looked += 1
        return self.text


class Nodes:
    """Three, with the same conversations, and a network that loses what the test says."""

    def __init__(self) -> None:
        self.store = Store()
        self.position = 0
        self.sent: list[tuple[int, int, Wanted | Piece]] = []
        self.lost: Callable[[Wanted | Piece], bool] = lambda message: False
        self.nodes = {number: self._node(number) for number in (1, 2, 3)}
        self.llms = {number: Llm(node) for number, node in self.nodes.items()}
        self.told: list[str] = []
        self.nodes[2].listen(self.told.append)
        self.apply(Create("c"), Query("c", "Why?"))

    def _node(self, number: int) -> Drafts:
        def send(to: int, payload: bytes) -> None:
            message = decode(payload)
            assert message is not None
            self.sent.append((number, to, message))
            if not self.lost(message):
                asyncio.get_running_loop().call_soon(lambda: self.nodes[to].on_message(number, payload))

        return Drafts(number, send, lambda: self.store.conversations, lambda: (1, 2, 3))

    def apply(self, *operations: StoreOperation) -> None:
        for operation in operations:
            self.position += 1
            outcome = self.store.apply(self.position, encode(operation))
            assert outcome.ok, outcome.error
            for node in self.nodes.values():
                node.on_applied(outcome)

    def seen(self, by: int = 2, turn: int = 1) -> dict[int, str]:
        return {node: draft.text for node, draft in self.nodes[by].of("c", turn).items()}

    def pieces(self) -> list[Piece]:
        return [message for *_, message in self.sent if isinstance(message, Piece)]


def run(scenario: Callable[[Nodes], Awaitable[None]]) -> None:
    failed: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        async with asyncio.timeout(10):
            nodes = Nodes()
            await scenario(nodes)
            for node in nodes.nodes.values():
                node.close()

    asyncio.run(main())
    assert not failed


def test_what_is_written_reaches_who_looks_and_ends_with_the_decision() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[2].watch("c")
        nodes.llms[1].writes("", pieces=0)
        await until(lambda: nodes.seen() == {1: ""}, 5)
        nodes.llms[1].writes("Because")
        nodes.llms[2].writes("Who")
        await until(lambda: nodes.seen() == {1: "Because", 2: "Who"}, 5)
        nodes.llms[1].writes("Because of")
        await until(lambda: nodes.seen()[1] == "Because of", 5)
        assert set(nodes.told) == {"c"} and nodes.seen(by=3) == {} and nodes.seen(turn=2) == {}
        nodes.apply(Candidate("c", 1, 1, "Because of it", None, "m"))
        assert nodes.seen() == {2: "Who"}
        nodes.apply(Cancel("c", 1))
        assert nodes.seen() == {}
        sent = len(nodes.sent)
        nodes.llms[3].writes("Too late")
        await asyncio.sleep(0.05)
        assert len(nodes.sent) == sent, "nothing is asked for any more"

    run(scenario)


def test_a_decision_may_come_before_a_look_that_was_due() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[2].watch("c")
        nodes.llms[2].writes("Because")
        await until(lambda: nodes.seen() == {2: "Because"}, 5)
        nodes.llms[2].writes("Because of")
        nodes.apply(Candidate("c", 1, 2, "Because of it", None, "m"))
        looked = nodes.llms[2].looked
        nodes.llms[1].writes("Nobody")  # seen after the look that was due
        await until(lambda: nodes.seen() == {1: "Nobody"}, 5)
        assert nodes.llms[2].looked == looked

    run(scenario)


def test_another_answer_is_shown_when_it_is_there() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[2].watch("c")
        nodes.apply(Cancel("c"), Ask("c", "Who?"), Answer("c", 2, 1, "I", None), Regenerate("c"))
        nodes.llms[1].writes("We", turn=2)
        nodes.apply(Query("c", "And?"))
        nodes.llms[1].writes("Therefore", turn=3)
        await until(lambda: nodes.seen(turn=3) == {1: "Therefore"}, 5)
        assert {piece.turn for piece in nodes.pieces()} == {3}
        nodes.apply(Cancel("c"))
        assert nodes.nodes[1]._own.get(("c", 2, False)) is None, "nothing is kept of what was overtaken"

    run(scenario)


def test_a_synthesis_is_shown_as_it_is_written() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[2].watch("c")
        nodes.apply(Candidate("c", 1, 1, "one", None), Candidate("c", 1, 3, "other", None), Synthesize("c"))
        nodes.llms[1].writes("Both", kind="synthesis")
        await until(lambda: nodes.seen() == {0: "Both"}, 5)
        nodes.llms[2].writes("Mine")
        await until(lambda: nodes.seen() == {0: "Both", 2: "Mine"}, 5)
        assert nodes.seen(by=1) == {}, "nobody looks there"
        nodes.apply(Synthesized("c", 1, 1, None, "no key", round=1), Synthesize("c"))
        assert nodes.seen() == {2: "Mine"}, "what was written of an earlier one is not shown"
        nodes.llms[2].writes("Both of them", kind="synthesis")
        await until(lambda: nodes.seen() == {0: "Both of them", 2: "Mine"}, 5)
        nodes.apply(Synthesized("c", 1, 2, "Both of them.", None, round=2))
        assert nodes.seen() == {2: "Mine"}
        nodes.llms[2].writes("More", kind="synthesis")
        assert nodes.seen() == {2: "Mine"}, "none is awaited"

    run(scenario)


def test_nobody_looks_and_it_costs_nothing() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.llms[1].writes("Because")
        await asyncio.sleep(0.02)
        assert not nodes.llms[1].looked and not nodes.sent
        nodes.nodes[2].watch("c")
        nodes.nodes[2].watch("c")
        nodes.nodes[2].unwatch("c")
        await until(lambda: nodes.seen() == {1: "Because"}, 5)
        nodes.nodes[2].unwatch("c")
        assert nodes.seen() == {}

    run(scenario)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_long_texts_come_in_pieces_and_losses_are_made_good(loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if not loss:
        monkeypatch.setattr(own_drafts, "_FIRST_PATIENCE_S", 5.0)

    async def scenario(nodes: Nodes) -> None:
        chance = Random(4)
        nodes.lost = lambda message: chance.random() < loss
        nodes.llms[1].writes(LONG)
        nodes.nodes[2].watch("c")
        await until(lambda: nodes.seen() == {1: LONG}, 8)
        assert max(len(piece.text) for piece in nodes.pieces()) <= PIECE_CHARS
        if not loss:
            assert len(nodes.pieces()) == len(LONG) // PIECE_CHARS, "nothing is sent twice"

    run(scenario)


def test_a_node_that_was_held_up_goes_on_at_once() -> None:
    """Its share is one of the processor's time, of which standing still takes none."""
    async def scenario(nodes: Nodes) -> None:
        llm = nodes.llms[1]

        def stand_still() -> str:
            time.sleep(0.3)
            return "Because"

        nodes.nodes[2].watch("c")
        nodes.nodes[1].on_progress(Request("c", 1, "candidate", list), 1, stand_still)
        await until(lambda: nodes.seen() == {1: "Because"}, 3)
        llm.writes("Because so", 2)
        await until(lambda: nodes.seen() == {1: "Because so"}, 3)

    run(scenario)


def test_a_thin_link_is_not_filled() -> None:
    """Nothing is known to arrive: little is on its way, and repeated less and less often."""

    async def scenario(nodes: Nodes) -> None:
        nodes.lost = lambda message: isinstance(message, Piece)
        nodes.llms[1].writes(LONG)
        nodes.nodes[2].watch("c")
        await asyncio.sleep(0.3)
        places = [piece.offset for piece in nodes.pieces()]
        assert len(places) <= 14, places
        await until(lambda: len(nodes.pieces()) > 2, 5)
        assert max(piece.offset for piece in nodes.pieces()) < 2 * PIECE_CHARS

    run(scenario)


def test_an_answer_that_begins_again_replaces_what_was_seen() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[2].watch("c")
        nodes.llms[1].writes("Because of")
        await until(lambda: nodes.seen() == {1: "Because of"}, 5)
        first = nodes.nodes[2].of("c", 1)[1].id
        nodes.llms[1].writes("No")
        await until(lambda: nodes.seen() == {1: "No"}, 5)
        assert nodes.nodes[2].of("c", 1)[1].id != first
        nodes.apply(Candidate("c", 1, 1, "No", None, "m"), Retry("c", 1, 1))
        assert nodes.seen() == {}
        nodes.llms[1].writes("Yes", pieces=0)
        await until(lambda: nodes.seen() == {1: "Yes"}, 5)
        nodes.apply(Delete("c"))
        assert nodes.seen() == {}

    run(scenario)


def test_an_llm_whose_thoughts_were_taken_for_its_answer_is_shown_no_more() -> None:
    async def scenario(nodes: Nodes) -> None:
        nodes.nodes[1].watch("c")
        nodes.llms[1].writes("Let me think</think>Yes")
        await until(lambda: nodes.seen(by=1) == {1: "Let me think</think>Yes"}, 5)
        nodes.apply(CandidateInFull("c", 1, 1, "Yes", None, "m", thoughts="Let me think"), Cancel("c", 1))
        nodes.apply(Query("c", "And?"))
        nodes.llms[1].writes("Let me", turn=2)
        await until(lambda: nodes.llms[1].looked == 1, 5)
        await asyncio.sleep(0.01)
        assert nodes.seen(by=1, turn=2) == {1: ""}

    run(scenario)


@pytest.mark.parametrize(
    "piece",
    [
        Piece("c", 1, 7, 0, "x"), Piece("d", 1, 7, 0, "x"), Piece("c", 2, 7, 0, "x"), Piece("c", 1, 7, 5, "x"),
        Piece("c", 1, 9, MAX_DRAFT_CHARS, "x"),
    ],
)
def test_a_hostile_member_speaks_for_itself_alone(piece: Piece) -> None:
    async def scenario(nodes: Nodes) -> None:
        node = nodes.nodes[2]
        node.on_message(3, encode_message(piece))
        assert nodes.seen() == {}, "nobody looks"
        node.watch("c")
        node.on_message(9, encode_message(piece))
        node.on_message(3, encode_message(piece))
        is_fine = piece == Piece("c", 1, 7, 0, "x")
        assert nodes.seen() == ({3: "x"} if is_fine else {})
        for offset in (0, 1, 0, 5, 1):
            node.on_message(3, encode_message(Piece("c", 1, 7, offset, "y")))
        assert nodes.seen() == {3: "xy" if is_fine else "yy"}, "only what comes next is taken"

    run(scenario)


def test_what_a_member_may_fill_is_bounded() -> None:
    async def scenario(nodes: Nodes) -> None:
        node = nodes.nodes[2]
        node.watch("c")
        for number in range(0, 2 * MAX_DRAFT_CHARS, PIECE_CHARS):
            payload = encode_message(Piece("c", 1, 7, min(number, MAX_DRAFT_CHARS), "z" * PIECE_CHARS))
            node.on_message(3, payload)
        assert len(nodes.seen()[3]) == MAX_DRAFT_CHARS
        for turn in range(1, 3000):
            node.on_message(3, encode_message(Wanted("c", turn, 0, 0)))
        assert len(node._own._lookers[3]) == 256
        for number in range(300):
            node.watch(f"d{number}")
        assert len(node._watched) == drafts.MAX_WATCHED
        for number in range(300):
            node.unwatch(f"d{number}")
        node.unwatch("c")
        assert not node._watched and not node._watchers

    run(scenario)


def test_a_flood_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(drafts, "decode", decoded.append)

    async def scenario(nodes: Nodes) -> None:
        node = Drafts(2, lambda *_: None, lambda: nodes.store.conversations, lambda: (1, 2, 3), clock=lambda: 7.5)
        for _ in range(3 * drafts._MESSAGES_PER_S):
            node.on_message(3, b"\x95")
        node.on_message(1, b"\x95")
        assert len(decoded) == drafts._MESSAGES_PER_S + 1, "and others are heard"

    run(scenario)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x95\x02", msgspec.msgpack.encode([2, "c", 1, 7, 0, "x" * (PIECE_CHARS + 1)]),
        msgspec.msgpack.encode([2, "c", 0, 7, 0, "x"]), msgspec.msgpack.encode([2, "c\x1b", 1, 7, 0, "x"]),
        msgspec.msgpack.encode([2, "c", 1, 2**48, 0, "x"]), msgspec.msgpack.encode([1, "c", 1, 7, MAX_DRAFT_CHARS + 1]),
        msgspec.msgpack.encode([3, "c", 1, 7, 0]), b"\x95\x02\xa1c\x01\x07\x00\xa2\xed\xa0", b"\x91\x02" * 20_000,
    ],
)
def test_nonsense_is_no_message(payload: bytes) -> None:
    assert decode(payload) is None
