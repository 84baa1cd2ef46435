"""A synthesis: an LLM's one answer out of the others', as a further candidate."""

from __future__ import annotations

import msgspec
import pytest

from kvstore.agreement import FULL, agreement
from kvstore.conversation import AGREEMENT, PART_BYTES, SYNTHESIS, Cut, Response, Synthesis, Turn
from kvstore.operations import (
    Ask,
    Cancel,
    Candidate,
    Choose,
    ChooseAuto,
    Create,
    Delete,
    ElectWeighed,
    Fork,
    IfCreatedAt,
    Import,
    ImportInFull,
    Query,
    Ranking,
    Retry,
    SetAuto,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
    Undelete,
    name,
    not_understood,
    plainer,
)
from kvstore.packed_turns import Restored, RestoredInFull, RestoredTurn, in_plain, pack, says_more
from kvstore.rules import MAX_NODE, check
from kvstore.store import Store
from tests.unit.kvstore.test_ask_once import Log


def synthesized(node: int, number: int, text: str | None = "both", turn: int = 1) -> Synthesized:
    return Synthesized("c", turn, node, text, None if text else "no key", "m", 1.5, number, tokens_out=7)


def candidate(node: int, text: str | None, turn: int = 1) -> Candidate:
    return Candidate("c", turn, node, text, None if text else "no key", "m")


def answered(*more: StoreOperation) -> Log:
    """Nodes 1 and 3 have answered, and node 2 has failed."""
    log = Log()
    for operation in (
        Create("c"), Query("c", "why?"), candidate(3, "one"), candidate(2, None), candidate(1, "other"), *more
    ):
        assert log(operation).ok
    return log


def turn_of(log: Log, context: str = "c", number: int = 1) -> Turn:
    return log.store.conversations[context].turns[number - 1]


def test_it_becomes_a_candidate_that_can_be_chosen() -> None:
    log = answered()
    before = log.store.size
    assert "there is no synthesis in turn 1 of 'c'; answered so far: nodes 1, 3" in log.refused(Choose("c", SYNTHESIS))
    assert log(Synthesize("c", at=7)).turn == 1
    turn = turn_of(log)
    assert (turn.open_synthesis, turn.at, list(turn.candidates)) == (Synthesis(1, None, (1, 3)), 7, [1, 2, 3])
    assert log(candidate(4, "late")).ok, "of which nothing is in it"
    assert log(synthesized(2, 1)).ok
    said = turn.candidates[SYNTHESIS]
    assert (said.text, said.by, said.out_of, said.seconds, said.tokens_out) == ("both", 2, (1, 3), 1.5, 7)
    assert (list(turn.candidates), turn.chosen, turn.open_synthesis) == ([SYNTHESIS, 1, 2, 3, 4], None, None)
    assert log.store.size == before + len("late") + len("both") + 2 * PART_BYTES
    assert "node 9 has no answer in turn 1 of 'c'; answered so far: nodes 1, 3, 4, and 0, the synthesis" in log.refused(
        Choose("c", 9)
    )
    assert log(Choose("c", SYNTHESIS)).ok and turn.answer is not None and turn.answer.text == "both"
    assert "already chosen: the synthesis, turn 1" in log.refused(Choose("c", 1))
    assert "already chosen" in log.refused(Synthesize("c"))


def test_only_the_one_that_is_awaited_counts() -> None:
    log = answered()
    assert "synthesis 1 in turn 1 of 'c' is over" in log.refused(synthesized(1, 1)), "nobody has asked for it"
    log(Synthesize("c"))
    assert "already asked for a synthesis in 'c'" in log.refused(Synthesize("c"))
    assert "is over" in log.refused(synthesized(1, 2))
    assert log(synthesized(1, 1, "first")).ok
    assert "is over" in log.refused(synthesized(3, 1)), "the first one counts"
    assert log(Synthesize("c")).ok and turn_of(log).candidates[SYNTHESIS].text == "first", "it stands meanwhile"
    assert "is over" in log.refused(synthesized(1, 1, "again"))
    assert log(synthesized(3, 2, "second")).ok
    said = turn_of(log).candidates[SYNTHESIS]
    assert (said.text, said.by, said.out_of) == ("second", 3, (1, 3)), "out of nodes' answers alone"


def test_a_named_node_alone_writes_it() -> None:
    log = answered(Synthesize("c", node=3))
    assert "node 3's LLM is already asked" in log.refused(Synthesize("c", node=1))
    assert "node 3 is asked for a synthesis in 'c', not node 1" in log.refused(synthesized(1, 1))
    assert log(synthesized(3, 1)).ok and turn_of(log).candidates[SYNTHESIS].by == 3


def test_the_turn_stays_as_it_is_if_the_llm_fails() -> None:
    log = answered(Synthesize("c"), synthesized(1, 1), Synthesize("c"))
    assert log(synthesized(2, 2, None)).ok
    turn = turn_of(log)
    assert turn.open_synthesis is None and turn.candidates[SYNTHESIS].text == "both"
    assert log(Synthesize("c")).ok and turn.open_synthesis == Synthesis(3, None, (1, 3))


CALLING_OFF: list[StoreOperation] = [Choose("c", 1), Cancel("c"), StartPoll("c"), Retry("c"), Retry("c", node=3)]


@pytest.mark.parametrize("first", CALLING_OFF, ids=repr)
def test_what_comes_first_calls_it_off(first: StoreOperation) -> None:
    log = answered(Synthesize("c"), first)
    assert turn_of(log).open_synthesis is None
    log.refused(synthesized(1, 1))
    assert SYNTHESIS not in turn_of(log).candidates


def test_it_goes_with_what_it_was_made_out_of() -> None:
    log = answered(Synthesize("c"), synthesized(1, 1))
    assert log(Retry("c", node=2)).ok and SYNTHESIS in turn_of(log).candidates, "node 2 had failed"
    before = log.store.size
    assert log(Retry("c", node=3)).ok and list(turn_of(log).candidates) == [1]
    assert log.store.size == before - len("both") - len("one") - 2 * PART_BYTES
    assert "needs at least two answers; answered so far: node 1" in log.refused(Synthesize("c"))


def test_what_cannot_be_made() -> None:
    log = Log()
    log(Create("c"))
    assert "no conversation 'x'" in log.refused(Synthesize("x"))
    assert "has no open question" in log.refused(Synthesize("c"))
    log(Query("c", "why?"))
    log(candidate(2, None))
    assert "needs at least two answers; no node has one yet" in log.refused(Synthesize("c"))
    assert "has no turn 9" in log.refused(Synthesize("c", 9))
    log(candidate(1, "one"))
    log(candidate(3, "two"))
    log(StartPoll("c"))
    assert "the nodes are already choosing in 'c'" in log.refused(Synthesize("c"))
    log(Cancel("c"))
    log(Ask("c", "who?"))
    assert "the leader's answer is final" in log.refused(Synthesize("c"))
    assert "turn 1 is closed; turn 2 is open since" in log.refused(Synthesize("c", 1))
    assert check(Synthesize("c", node=0)) == "there is no node 0" == check(synthesized(0, 1))
    assert check(Retry("c", node=SYNTHESIS)) == "there is no node 0"
    assert check(Choose("c", MAX_NODE + 1)) == f"there is no node {MAX_NODE + 1}"


def test_of_another_conversation_of_this_name_nothing_is_taken() -> None:
    log = answered(Synthesize("c"), Delete("c"))
    for operation in (Create("c"), Query("c", "why?"), candidate(1, "a"), candidate(2, "b"), Synthesize("c")):
        assert log(operation).ok
    assert "is another conversation now" in log.refused(IfCreatedAt(1, synthesized(1, 1)))
    created = log.store.conversations["c"].created
    assert log(IfCreatedAt(created, synthesized(1, 1))).ok


def test_it_waits_through_a_deletion_that_is_undone() -> None:
    log = answered(Synthesize("c"), Delete("c"), Undelete("c"))
    assert turn_of(log).open_synthesis is not None and log(synthesized(1, 1)).ok


def test_nodes_rank_it_if_it_is_in_and_it_wins_no_tie() -> None:
    log = answered(Synthesize("c"), synthesized(1, 1), StartPoll("c"))
    poll = turn_of(log).poll
    assert poll is not None and poll.ballot == [SYNTHESIS, 1, 3]
    assert log(Ranking("c", 1, 1, 1, [0, 1, 3], None)).ok and log(Ranking("c", 1, 2, 1, [1, 0, 3], None)).ok
    assert poll.points == {SYNTHESIS: 3, 1: 3, 3: 0} and poll.winner == 1
    assert log(Ranking("c", 1, 3, 1, [0, 1, 3], None)).ok and poll.winner == SYNTHESIS
    assert log(ElectWeighed("c", 1, 1)).ok and turn_of(log).chosen == SYNTHESIS
    assert AGREEMENT not in poll.votes, "of two answers, each agrees with the other as much"


def test_it_is_no_witness_for_the_answers_that_it_is_made_out_of() -> None:
    def said(text: str, model: str) -> Response:
        return Response(text, None, model, 0.0)

    answers = {1: said("a b", "x"), 2: said("a c", "y"), 3: said("d e", "z")}
    alone = agreement(answers)
    shares = agreement({**answers, SYNTHESIS: said("d e", "x")})
    assert {node: shares[node] for node in answers} == alone, "and node 3 is not right because it repeats node 3"
    assert shares[SYNTHESIS] == FULL // 3


def test_where_nodes_choose_by_themselves_they_wait_for_it() -> None:
    log = answered(SetAuto("c", True), Synthesize("c"))
    assert log.store.conversations["c"].choosing is None
    assert "do not choose by themselves" in log.refused(ChooseAuto("c", 1, 1))
    log(synthesized(1, 1, None))
    assert log.store.conversations["c"].choosing == 1 and log(ChooseAuto("c", 1, 1)).ok


def test_a_fork_has_it() -> None:
    log = answered(Synthesize("c"), synthesized(2, 1), Choose("c", SYNTHESIS), Fork("f", "c"))
    turn = turn_of(log, "f")
    assert turn.synthesis is None and turn.answer == turn_of(log).answer and turn.chosen == SYNTHESIS


def restored(**changed: object) -> RestoredTurn:
    made = RestoredInFull(SYNTHESIS, "both", None, "m", by=2, out_of=(1, 3))
    return RestoredTurn(
        "query", "why?", [RestoredInFull(1, "one", None), msgspec.structs.replace(made, **changed)], SYNTHESIS
    )


def test_an_import_has_it() -> None:
    log = Log()
    operation = ImportInFull("c", pack([restored()]))
    assert says_more([restored()]) and plainer(operation) is None, "release 0.1.0 cannot say this"
    assert log(operation).ok and turn_of(log).candidates[SYNTHESIS].out_of == (1, 3)
    assert "made out of those of at least two nodes" in (check(Import("c", pack(in_plain([restored()])))) or "")


@pytest.mark.parametrize("changed", [
    {"by": 0}, {"by": MAX_NODE + 1}, {"out_of": ()}, {"out_of": (1,)}, {"out_of": (3, 1)}, {"out_of": (1, 1)},
    {"out_of": (0, 1)}, {"node": 2}, {"text": None, "error": "no"}, {"cut_at": -1.0},
], ids=repr)
def test_what_nobody_can_have_made_is_not_imported(changed: dict[str, object]) -> None:
    assert check(ImportInFull("c", pack([restored()]))) is None
    assert check(ImportInFull("c", pack([restored(**changed)]))) is not None


def test_an_import_of_an_answer_to_an_ask_has_none() -> None:
    assert check(ImportInFull("c", pack([msgspec.structs.replace(restored(), kind="ask")]))) is not None
    assert check(Import("c", pack([RestoredTurn("query", "why?", [Restored(0, "x", None)], None)]))) is not None


def test_rows_that_no_operations_lead_to_are_none() -> None:
    for operations in ((Synthesize("c"),), (Synthesize("c"), synthesized(1, 1))):
        log = answered(*operations)
        rows = dict(log.store.snapshot())
        assert Store().readable(rows.items())
        source = next(key for key in rows if len(key) == 16 and key.endswith(b"\x03"))
        without = {key: row for key, row in rows.items() if key != source}
        assert not Store().readable(without.items()), "what it is made out of, or is to be, is not there"
    made = next(key for key in rows if len(key) == 16 and key.endswith(b"\x00"))
    assert not Store().readable({**rows, made: rows[source]}.items()), "a node's answer is no synthesis"
    assert not Store().readable({**rows, source: rows[made]}.items()), "and a synthesis is no node's answer"


def test_rows_of_other_responses_are_as_they_were() -> None:
    plain = Response("so", None, "m", 1.0)
    full = msgspec.structs.replace(plain, thoughts="hm", cut=Cut.TIME)
    log = answered()
    turn = turn_of(log)
    for response, fields in ((plain, 7), (full, 12)):
        turn.candidates = {**turn.candidates, 1: response}
        row = next(row for key, row in log.store.snapshot() if len(key) == 16 and key.endswith(b"\x01"))
        assert len(msgspec.msgpack.decode(row)) == fields


def test_nobody_proposes_it_while_a_member_does_not_know_it() -> None:
    for operation, known_as in ((Synthesize("c"), "synth"), (synthesized(1, 1), "synthesis")):
        assert name(operation) == known_as and plainer(operation) is None
        assert f"`{known_as}` needs all nodes" in (not_understood(operation, lambda: {1: 1}) or "")
