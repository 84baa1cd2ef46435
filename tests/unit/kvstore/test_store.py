"""The state machine: what each command does, when it is refused, and that equal histories give equal bytes."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.conversation import Cut, Kind, State
from kvstore.operations import (
    Answer,
    AnswerInFull,
    Ask,
    AskOnce,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    ChooseAuto,
    Create,
    Delete,
    Elect,
    Fork,
    Import,
    Query,
    Ranking,
    Regenerate,
    Rename,
    Retry,
    SetAuto,
    SetQuotas,
    SetSystem,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
    Undelete,
)
from kvstore.packed_turns import Restored, RestoredTurn, pack
from kvstore.payloads import UnknownOperation, decode, encode
from kvstore.store import Outcome, Store


class Cluster:
    """One store, fed at consecutive positions."""

    def __init__(self) -> None:
        self.store = Store()
        self.position = 0

    def __call__(self, *commands: StoreOperation) -> Outcome:
        """Applies all; returns the last outcome."""
        for command in commands:
            self.position += 1
            outcome = self.store.apply(self.position, encode(command))
        return outcome

    def refused(self, command: StoreOperation) -> str:
        """The error of the refused command; checks that it changes nothing."""
        before, digest = copy.deepcopy(dict(self.store.conversations)), self.store.digest()
        outcome = self(command)
        assert not outcome.ok and outcome.turn is None and outcome.error
        assert outcome.operation == command and outcome.context == command.context
        assert self.store.conversations == before and self.store.digest() == digest
        return outcome.error


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def said(node: int, turn: int = 1, text: str | None = None, error: str | None = None) -> Candidate:
    return Candidate("c1", turn, node, None if error else text or f"answer of {node}", error, "model", 1.0)


def test_a_conversation_from_question_to_choice(cluster: Cluster) -> None:
    assert cluster(Create("c1")) == Outcome(Create("c1"), True, None, "c1", None)
    assert cluster(Query("c1", "why?")).turn == 1
    conversation = cluster.store.conversations["c1"]
    assert (conversation.context, conversation.index, conversation.created) == ("c1", 1, 1)
    assert conversation.open_turn == 1
    cluster(said(3), said(1), said(2, error="no network"))
    turn = conversation.turns[0]
    assert list(turn.candidates) == [1, 2, 3] and turn.choices == [1, 3]
    assert (turn.kind, turn.state, turn.answer) == (Kind.QUERY, State.OPEN, None)
    assert cluster(Choose("c1", 3)).turn == 1
    assert turn.state is State.CHOSEN and turn.answer is not None and turn.answer.text == "answer of 3"
    assert conversation.open_turn is None
    assert cluster(Query("c1", "and then?")).turn == 2


def test_conversations_are_in_order_of_creation(cluster: Cluster) -> None:
    cluster(Create("b"), Create("c"), Create("a"), Create("b"))
    assert list(cluster.store.conversations) == ["b", "c", "a"]
    assert [one.created for one in cluster.store.conversations.values()] == [1, 2, 3]


def test_unknown_conversation(cluster: Cluster) -> None:
    commands: list[StoreOperation] = [
        Query("c1", "why?"), Ask("c1", "why?"), Choose("c1", 1), Cancel("c1"), said(1), Answer("c1", 1, 1, "x", None)
    ]
    for command in commands:
        assert cluster.refused(command) == "no conversation 'c1': use create c1"


def test_existing_conversation(cluster: Cluster) -> None:
    cluster(Create("c1"))
    assert cluster.refused(Create("c1")) == "conversation 'c1' already exists"


def test_one_open_question_at_a_time(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"))
    sentence = (
        "'c1' has an open question: choose one of its answers (choose c1 N), ask it again (retry c1) or cancel it "
        "(cancel c1)"
    )
    assert cluster.refused(Query("c1", "and?")) == sentence
    assert cluster.refused(Ask("c1", "and?")) == sentence
    cluster(Cancel("c1"), Ask("c1", "who?"))
    sentence = "'c1' has an open question: wait for its answer, ask it again (retry c1) or cancel it (cancel c1)"
    assert cluster.refused(Query("c1", "and?")) == sentence


def test_choose_with_nothing_to_choose_from(cluster: Cluster) -> None:
    cluster(Create("c1"))
    assert cluster.refused(Choose("c1", 1)) == "nothing to choose from in 'c1' yet"
    assert cluster.refused(Choose("c1", 1, 1)) == "'c1' has no turn 1"
    cluster(Query("c1", "why?"))
    assert cluster.refused(Choose("c1", 1)) == "nothing to choose from in 'c1' yet"


def test_choose_of_a_node_without_an_answer(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(4, error="no network"))
    assert cluster.refused(Choose("c1", 1)) == "node 1 has no answer in turn 1 of 'c1'; no node has one yet"
    cluster(said(2))
    assert cluster.refused(Choose("c1", 1)) == "node 1 has no answer in turn 1 of 'c1'; answered so far: node 2"
    cluster(said(3))
    assert cluster.refused(Choose("c1", 1)) == "node 1 has no answer in turn 1 of 'c1'; answered so far: nodes 2, 3"
    assert cluster.refused(Choose("c1", 4)) == "node 4's answer in turn 1 of 'c1' failed; answered so far: nodes 2, 3"


def test_the_first_choice_wins(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(1), said(2), Choose("c1", 2))
    assert cluster.refused(Choose("c1", 1)) == "already chosen: node 2's answer, turn 1"
    assert cluster.refused(Choose("c1", 2)) == "already chosen: node 2's answer, turn 1"
    assert cluster.refused(Cancel("c1")) == "'c1' has no open question: already chosen: node 2's answer, turn 1"


def test_a_choice_does_not_slip_into_a_later_turn(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(1), said(2), Choose("c1", 2), Query("c1", "and?"), said(1, 2))
    for operation in (Choose("c1", 1, 1), Cancel("c1", 1), Retry("c1", 1), StartPoll("c1", 1)):
        assert cluster.refused(operation) == "turn 1 is closed; turn 2 is open since"
    assert cluster.refused(Choose("c1", 1, 3)) == "'c1' has no turn 3"
    assert cluster(Choose("c1", 1, 2)).ok
    assert cluster.refused(Choose("c1", 1, 1)) == "already chosen: node 2's answer, turn 1"
    assert cluster.refused(Cancel("c1", 1)) == "'c1' has no open question: already chosen: node 2's answer, turn 1"


def test_giving_up(cluster: Cluster) -> None:
    cluster(Create("c1"))
    assert cluster.refused(Cancel("c1")) == "'c1' has no open question"
    cluster(Query("c1", "why?"), said(1))
    assert cluster(Cancel("c1", 1)).turn == 1
    assert cluster.store.conversations["c1"].turns[0].state is State.CANCELLED
    assert cluster.refused(Choose("c1", 1)) == "turn 1 of 'c1' was cancelled"
    assert cluster.refused(said(2)) == "turn 1 of 'c1' was cancelled"
    assert cluster.refused(Cancel("c1")) == "'c1' has no open question: turn 1 of 'c1' was cancelled"
    assert cluster(Query("c1", "again?")).turn == 2


def test_candidates_that_come_too_late_or_twice(cluster: Cluster) -> None:
    cluster(Create("c1"))
    assert cluster.refused(said(1)) == "'c1' has no turn 1"
    cluster(Query("c1", "why?"), said(1, text="first"))
    assert cluster.refused(said(1, text="second")) == "node 1 has already responded to turn 1 of 'c1'"
    assert cluster.store.conversations["c1"].turns[0].candidates[1].text == "first"
    cluster(Choose("c1", 1))
    assert cluster.refused(said(2)) == "already chosen: node 1's answer, turn 1"
    assert cluster.refused(Answer("c1", 1, 2, "x", None)) == "turn 1 of 'c1' is not of the kind 'ask'"


def test_exactly_one_answer_stands(cluster: Cluster) -> None:
    cluster(Create("c1"))
    assert cluster(Ask("c1", "who?")).turn == 1
    turn = cluster.store.conversations["c1"].turns[0]
    assert cluster.refused(said(1)) == "turn 1 of 'c1' is not of the kind 'query'"
    assert cluster(Answer("c1", 1, 2, None, "blocked", "m", 1.0)).ok
    assert turn.state is State.OPEN and turn.candidates[2].error == "blocked"
    assert cluster.refused(Choose("c1", 2)) == "node 2's answer in turn 1 of 'c1' failed; no node has one yet"
    assert cluster(Answer("c1", 1, 2, "me", None, "m", 2.0)).turn == 1
    assert turn.chosen == 2 and turn.answer is not None and turn.answer.text == "me"
    assert cluster.refused(Answer("c1", 1, 3, "you", None)) == "already chosen: node 2's answer, turn 1"


@pytest.mark.parametrize(
    "payload", [b"", b"garbage", b"\x92\x01\xc1", b"\x92\x00\xa1x", b"\x92\xff\xa1x", b"\x94\x14\x01"]
)
def test_garbage_is_refused(payload: bytes) -> None:
    store = Store()
    assert store.apply(1, payload) == Outcome(None, False, "not a command that this version knows")
    assert store.changed() == []


@pytest.mark.parametrize(
    "payload",
    [
        b"\x94\x14\x01\x93\x63\xa1c\x01\x00", b"\x94\x14\xcd\x01\x00\x91\xcc\xff",  # under a condition
        b"\x92\x63\xa1x", b"\x91\x70", b"\xdc\x00\x01\xcd\x01\x00", b"\x92\x08" + b"\x91" * 5000, b"\x91\xcc\xff",
    ],
)
def test_what_a_later_release_decided_is_neither_carried_out_nor_refused(payload: bytes) -> None:
    store = Store()
    with pytest.raises(UnknownOperation, match=r"position 7 .* upgrade this node"):
        store.apply(7, payload)
    assert store.changed() == []


def test_rows_of_a_later_release_are_not_loaded_without_what_is_new_in_them(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(1), said(2), StartPoll("c1"))
    rows = [(key, row) for key, row in cluster.store.changed() if row is not None]
    for changed, (key, row) in enumerate(rows):
        known = msgspec.msgpack.decode(row, strict=False)
        unused = {8: (False, "", "", 0), 12: ("",), 16: ("", None, 0.0)}[len(key)]
        longer = msgspec.msgpack.encode([*known, *unused, "new"])
        with pytest.raises(ValueError, match="not a snapshot"):
            Store().load([*rows[:changed], (key, longer), *rows[changed + 1 :]])
    Store().load(rows)


def test_an_import_brings_all_turns_closed(cluster: Cluster) -> None:
    responses = [Restored(2, "b", None, "m", 2.0), Restored(1, None, "timeout")]
    turns = [RestoredTurn("query", "why?", responses, 2), RestoredTurn("ask", "who?", [], None)]
    assert cluster(Import("c1", pack(turns), at=7)).turn == 2
    first, second = cluster.store.conversations["c1"].turns
    assert first.state is State.CHOSEN and first.answer is not None and first.answer.text == "b"
    assert list(first.candidates) == [1, 2] and cluster.store.conversations["c1"].open_turn is None
    assert second.state is State.CANCELLED and second.kind is Kind.ASK
    assert cluster.store.conversations["c1"].changed == 7
    assert cluster.refused(Import("c1", pack(turns))) == "conversation 'c1' already exists"
    assert cluster(Import("empty", pack([]))).ok and not cluster.store.conversations["empty"].turns
    assert cluster(Query("c1", "and?")).turn == 3


def test_an_import_that_is_wrong_in_its_last_turn_leaves_nothing() -> None:
    store, good, bad = Store(), RestoredTurn("ask", "who?", [], None), RestoredTurn("ask", "who?", [], 3)
    payload = msgspec.msgpack.encode(Import("c1", pack([good] * 9 + [bad])))  # which no node would propose
    outcome = store.apply(1, payload)
    assert not outcome.ok and outcome.error == "turn 10: node 3 is chosen, but has no answer"
    assert not store.conversations and store.changed() == []


def test_a_conversation_knows_when_it_changed_and_so_does_its_snapshot(cluster: Cluster) -> None:
    cluster(Create("c1", at=10))
    assert cluster.store.conversations["c1"].changed == 10
    cluster(Query("c1", "why?", at=20), Candidate("c1", 1, 2, "b", None, at=30))
    assert cluster.store.conversations["c1"].changed == 30
    cluster(Choose("c1", 2, at=40))
    cluster(Choose("c1", 2, at=50))
    assert cluster.store.conversations["c1"].changed == 40, "what is refused changes nothing"
    again = Store()
    again.load([(key, value) for key, value in cluster.store.changed() if value is not None])
    assert again.conversations["c1"].changed == 40 and again.digest() == cluster.store.digest()


def test_a_decided_command_beyond_the_limits_is_refused() -> None:
    outcome = Store().apply(1, b"\x92\x01\xa3a b")  # Create("a b"), which no node of this version would propose
    sentence = "a context id must consist of printable characters without spaces"
    assert outcome == Outcome(Create("a b"), False, sentence, "a b")


def test_only_changed_rows_are_written_again(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(1), said(2))
    assert len(cluster.store.changed()) == 4
    assert cluster.store.changed() == []
    cluster(said(3))
    assert len(cluster.store.changed()) == 1
    cluster(Choose("c1", 3))
    assert len(cluster.store.changed()) == 1


def test_a_damaged_snapshot_changes_nothing(cluster: Cluster) -> None:
    cluster(Create("c1"), Query("c1", "why?"), said(1))
    rows = [(key, value) for key, value in cluster.store.changed() if value is not None]
    digest = cluster.store.digest()
    damaged = [
        rows[1:], [rows[0], rows[2]], [(rows[0][0], b"\xc1")], [(b"odd", b"")], [(rows[0][0] + b"\x00", rows[0][1])],
        [*rows, (rows[2][0] + b"x", rows[2][1])], [*rows, rows[0]],
    ]
    for some in damaged:
        with pytest.raises(ValueError, match="not a snapshot"):
            cluster.store.load(some)
        assert cluster.store.digest() == digest
    cluster.store.load(rows)
    assert cluster.store.digest() == digest


def test_load_replaces_everything() -> None:
    old, new = Cluster(), Cluster()
    old(Create("old"), Query("old", "x"))
    old.store.digest()
    new(Create("c1"))
    rows = [(key, value) for key, value in new.store.changed() if value is not None]
    old.store.load(rows)
    assert list(old.store.conversations) == ["c1"]
    assert old.store.changed() == [] and old.store.digest() == new.store.digest()
    old.store.load([])
    assert old.store.digest() == Store().digest()


contexts = st.sampled_from(["a", "b", "c"])
turns = st.integers(1, 3)
nodes = st.integers(1, 3)
texts = st.sampled_from(["x", "y"])
responses = st.one_of(st.tuples(texts, st.none()), st.tuples(st.none(), texts))


@st.composite
def commands(draw: st.DrawFn) -> StoreOperation:
    context = draw(contexts)
    kind = draw(st.sampled_from(
        [
            Create, Query, Ask, Candidate, Answer, Choose, Cancel, Import, Retry, StartPoll, Ranking, Elect,
            CandidateInFull, AnswerInFull, SetQuotas, AskOnce, AskOnce, Delete, Undelete,
            Rename, Fork, SetSystem, SetAuto, ChooseAuto, Regenerate, Synthesize, Synthesized,
        ]
    ))
    if kind is SetQuotas:
        quotas = st.none() | st.integers(1, 6)
        return SetQuotas(draw(st.integers(1, 3)), draw(quotas), draw(quotas), draw(quotas), False)
    if kind is Create:
        return Create(context)
    if kind is Query or kind is Ask:
        return Query(context, draw(texts)) if kind is Query else Ask(context, draw(texts))
    if kind is AskOnce:
        past = pack([RestoredTurn("query", draw(texts), [Restored(1, "yes", None)], 1)])
        history = draw(st.sampled_from([None, b"", past]))
        question = context, draw(texts), draw(st.sampled_from("kl"))
        temporary = draw(st.booleans())
        asked = AskOnce(*question, "query", history, temporary)
        return asked if draw(st.booleans()) else AskOnce(*question, "ask", history, temporary)
    if kind is Undelete:
        return Undelete(context)
    if kind is Rename:
        return Rename(context, draw(contexts))
    if kind is Fork:
        return Fork(context, draw(contexts), draw(st.none() | turns))
    if kind is SetSystem:
        return SetSystem(context, draw(st.sampled_from(["", "x"])))
    if kind is Regenerate:
        return Regenerate(context, draw(st.none() | turns))
    if kind is Synthesize:
        return Synthesize(context, draw(st.none() | turns), draw(st.none() | nodes))
    if kind is SetAuto:
        return SetAuto(context, draw(st.booleans()))
    if kind is ChooseAuto:
        return ChooseAuto(context, draw(turns), draw(st.integers(1, 2)))
    if kind is Delete:
        return Delete(context, draw(st.none() | st.integers(1, 5)))
    if kind is Choose:
        return Choose(context, draw(st.integers(0, 3)), draw(st.none() | turns))
    if kind is Cancel:
        return Cancel(context, draw(st.none() | turns))
    if kind is Retry:
        return Retry(context, draw(st.none() | turns), draw(st.none() | nodes))
    if kind is StartPoll:
        return StartPoll(context, draw(st.none() | turns))
    if kind is Elect:
        return Elect(context, draw(turns), draw(st.integers(1, 2)))
    if kind is Ranking:
        order = draw(st.sampled_from([[1, 2], [2, 1], [3, 1], [1, 2, 3], [0, 2, 1], []]))
        return Ranking(context, draw(turns), draw(nodes), draw(st.integers(1, 2)), order, None if order else "abstains")
    if kind is Import:
        given = draw(st.dictionaries(nodes, texts))
        restored = [Restored(node, text, None) for node, text in given.items()]
        chosen = draw(st.sampled_from([None, *given]))
        turn = RestoredTurn(draw(st.sampled_from(("query", "ask"))), draw(texts), restored, chosen)
        return Import(context, pack([turn] * draw(st.integers(0, 2))))
    text, error = draw(responses)
    if kind is Synthesized:
        return Synthesized(context, draw(turns), draw(nodes), text, error, "m", 1.0, draw(st.integers(1, 2)))
    if kind is CandidateInFull or kind is AnswerInFull:
        said = (context, draw(turns), draw(nodes), text, error, "m", draw(st.floats(0, 10)))
        cut = draw(st.sampled_from([None, *Cut]))
        return kind(*said, thoughts=draw(st.sampled_from(["", "hm"])), cut=cut, cut_at=draw(st.sampled_from([0, 30.0])))
    maker = Candidate if kind is Candidate else Answer
    return maker(context, draw(turns), draw(nodes), text, error, "m", draw(st.floats(0, 10)))


def of_this_release(payload: bytes) -> bool:
    try:
        decode(payload)
    except UnknownOperation:
        return False
    except ValueError:
        return True
    return True


payloads = st.one_of(commands().map(encode), st.binary(max_size=8).filter(of_this_release))
steps = st.lists(st.tuples(payloads, st.booleans(), st.booleans()), max_size=60)


@given(steps)
@settings(max_examples=200)
def test_equal_histories_give_equal_stores(history: list[tuple[bytes, bool, bool]]) -> None:
    """One store computes digests and rows incrementally, another only at the end; a third loads the collected rows."""
    busy, lazy, loaded = Store(), Store(), Store()
    rows: dict[bytes, bytes] = {}
    for position, (payload, hashes, saves) in enumerate(history, 1):
        before = busy.digest() if hashes else None
        outcome = busy.apply(position, payload)
        assert outcome == lazy.apply(position, payload)
        if before is not None:
            same = isinstance(outcome.operation, SetQuotas | SetSystem | SetAuto) and outcome.ok  # perhaps as they were
            assert (busy.digest() != before) == (outcome.ok and not outcome.repeated) or same
        if saves:
            _gather(rows, busy)
    _gather(rows, busy)
    loaded.load(list(rows.items()))
    assert busy.digest() == lazy.digest() == loaded.digest()
    for other in (lazy, loaded):
        assert list(other.conversations.items()) == list(busy.conversations.items())
        assert other.quotas == busy.quotas
    assert all(conversation.bytes == conversation.measured for conversation in busy.conversations.values())
    all_rows = {key: value for key, value in lazy.changed() if value is not None}
    assert all_rows == rows and loaded.changed() == []
    assert loaded.apply(len(history) + 1, b"") == busy.apply(len(history) + 1, b"")
    for context in "abc":
        again = encode(Create(context))
        assert loaded.apply(1000, again) == busy.apply(1000, again)
    assert loaded.digest() == busy.digest() and loaded.changed() == busy.changed()


def _gather(rows: dict[bytes, bytes], store: Store) -> None:
    for key, value in store.changed():
        if value is None:
            rows.pop(key, None)  # it may have come and gone between two calls
        else:
            rows[key] = value


@given(st.lists(commands(), min_size=2, max_size=20), st.data())
def test_different_states_have_different_digests(history: list[StoreOperation], data: st.DataObject) -> None:
    one, other = Cluster(), Cluster()
    one(*history)
    other(*data.draw(st.permutations(history)))
    same = list(one.store._by_index.items()) == list(other.store._by_index.items())  # also the deleted ones
    same = same and one.store.quotas == other.store.quotas
    assert (one.store.digest() == other.store.digest()) == same


def test_the_digest_is_the_same_however_often_rows_are_saved() -> None:
    """Saving also hashes the rows."""
    often, never = Cluster(), Cluster()
    for one in (Create("a"), Query("a", "why?"), Create("b"), Candidate("a", 1, 2, "so", None), Choose("a", 2)):
        for cluster in (often, never):
            assert cluster(one).ok
        often.store.changed()
    assert often.store.digest() == never.store.digest()
