"""Tests of the checker: on histories known to be good or bad, on real executions, and against brute force."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore import operations, payloads
from kvstore.store import Store
from tests.simulation.executions import (
    TAMPERINGS,
    Mix,
    Tampering,
    execution,
    random_operation,
    shown,
    tampered,
    with_views_swapped,
)
from tests.simulation.history import (
    ALWAYS,
    Args,
    Call,
    Op,
    Recorder,
    Result,
    SeenTurn,
    dump,
    families,
    infer_candidates,
    load,
    unanswered,
    with_freed,
)
from tests.simulation.known_histories import (
    ASKED,
    BAD,
    CHOSE_1,
    CHOSEN,
    CREATED,
    FIFO_BAD,
    GOOD,
    NO,
    OK,
    ONLY_1,
    OPEN_Q,
    call,
    view,
)
from tests.simulation.linearizability import BUDGET, check
from tests.simulation.model import Family, agrees_in_family, apply, apply_to_family, as_shown
from tests.simulation.plain_search import ANY_LIFE, PlainSearch
from tests.simulation.users import reason

# --- Known histories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_good_history_is_accepted(name: str) -> None:
    verdict = check(GOOD[name])
    assert verdict.ok, verdict
    assert brute_force(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_history_is_rejected(name: str) -> None:
    verdict = check(BAD[name])
    assert verdict.answer == "violation"
    assert not brute_force(BAD[name])
    (failure,) = verdict.failures
    grows = not any(one.op in ANY_LIFE for one in BAD[name])
    assert bool(failure.contradiction) is grows, "a violation is explained, where the search has its shortcuts"


@pytest.mark.parametrize("name", FIFO_BAD)
def test_order_of_one_process_counts_if_asked_for(name: str) -> None:
    verdict = check(FIFO_BAD[name])
    assert verdict.answer == "violation"
    assert verdict.failures[0].fifo
    assert check(FIFO_BAD[name], fifo=False).ok
    assert not brute_force(FIFO_BAD[name])
    assert brute_force(FIFO_BAD[name], fifo=False)


# --- Several conversations ---------------------------------------------------------------------------------------


def view_all(start: float, end: float, **conversations: tuple[SeenTurn, ...]) -> Call:
    return Call("v", "viewall", Args(), start, end, Result(True, conversations=conversations))


def test_viewall_is_a_view_of_every_known_conversation() -> None:
    creates = [call("a", "create", 0, 1), call("a", "create", 2, 3, context="d")]
    assert check([*creates, view_all(4, 5, c=(), d=())]).ok
    missing = check([*creates, view_all(4, 5, c=())])
    assert [failure.context for failure in missing.failures] == ["d"]
    invented = check([*creates, view_all(4, 5, c=(), d=(), e=())])
    assert [failure.context for failure in invented.failures] == ["e"]


def test_conversations_are_always_shown_in_the_same_order() -> None:
    creates = [call("a", "create", 0, 9), call("b", "create", 0, 9, context="d")]
    assert check([*creates, view_all(1, 2, d=()), view_all(3, 4, d=(), c=())]).ok
    verdict = check([*creates, view_all(10, 11, c=(), d=()), view_all(10, 11, d=(), c=())])
    assert [failure.context for failure in verdict.failures] == [None]
    assert len(verdict.failures[0].contradiction) == 2


def test_failures_of_one_conversation_do_not_hide_those_of_another() -> None:
    bad = BAD["stale read"]
    other = [msgspec.structs.replace(one, args=msgspec.structs.replace(one.args, context="d")) for one in bad]
    assert [failure.context for failure in check([*bad, *other]).failures] == ["c", "d"]


# --- What a violation is explained with --------------------------------------------------------------------------


def test_the_explanation_is_short_and_leaves_out_what_does_not_matter() -> None:
    rng = random.Random(1)
    history = execution(rng, 150, Mix(overlap=5, open_share=0.1))
    late = max(one.returned_at or one.invoked_at for one in history) + 1
    contradiction = [call("z", "view", late, late + 1, NO, context="c0")]
    verdict = check([*history, *contradiction])
    (failure,) = verdict.failures
    assert contradiction[0] in failure.contradiction
    assert len(failure.contradiction) == 2, verdict
    assert str(contradiction[0]) in str(verdict)


def test_the_explanation_keeps_times_that_matter() -> None:
    (failure,) = check(BAD["read from the future"]).failures
    assert [one.op for one in failure.contradiction] == ["view"]
    assert [one.op for one in failure.bystanders] == ["query"], "its answer does not matter, when it began does"


def test_the_prefix_ends_with_the_first_answer_that_cannot_be() -> None:
    more = [call("a", "cancel", 6, 7), view("a", 8, 9, SeenTurn("Q", cancelled=True))]
    (failure,) = check([*BAD["stale read"], *more]).failures
    assert failure.prefix == tuple(BAD["stale read"])


def test_what_all_views_show_is_not_repeated() -> None:
    closed, other = SeenTurn("Q", cancelled=True), SeenTurn("R")
    text = str(check([*ASKED, call("a", "cancel", 4, 5), call("a", "query", 6, None, text="R"),
                      view("b", 7, 8, closed, other), view("b", 9, 10, closed)]))  # fmt: skip
    assert "1-1: the same in all | 2: 'R'" in text


def test_a_last_turn_that_should_have_changed_is_shown() -> None:
    seen = (*ASKED, view("b", 4, 5, ONLY_1), call("a", "retry", 6, 7), view("b", 8, 9, ONLY_1))
    assert str(check(infer_candidates(seen, repeating=False))).count("[1: 'Q' {1: 'A1'}]") == 2


def test_giving_up_is_a_failure() -> None:
    verdict = check(CHOSEN, budget=1)
    assert not verdict.ok
    assert verdict.answer == "unknown"
    assert "gave up" in str(verdict)


# --- Recording ---------------------------------------------------------------------------------------------------


def test_a_dumped_history_is_read_back(tmp_path: Path) -> None:
    history = [*infer_candidates(CHOSEN), view("b", 8, 9, CHOSE_1), view_all(8, 9, c=(CHOSE_1,), d=())]
    dump(history, tmp_path / "history.jsonl")
    assert sorted(map(str, load(tmp_path / "history.jsonl"))) == sorted(map(str, history))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    dump(CHOSEN, path)
    path.write_bytes(path.read_bytes() + b'{"process": "a", "op": "steal", "args": {}, "invoked_at": 1}\n')
    with pytest.raises(ValueError, match=f"line {len(CHOSEN) + 1}"):
        load(path)


@pytest.mark.parametrize("wrong", [
    Call("a", "query", Args("c"), 0),
    Call("a", "create", Args(), 0),
    Call("a", "create", Args("c"), 2, 1, OK),
    Call("a", "create", Args("c"), 0, None, OK),
    Call("a", "view", Args("c"), 0, 1, OK),
    Call("a", "choose", Args("c", node=1, turn=0), 0),
])  # fmt: skip
def test_a_malformed_call_is_an_error_rather_than_a_verdict(wrong: Call) -> None:
    with pytest.raises(ValueError):
        check([wrong])


def test_the_recorder_leaves_open_what_was_not_answered() -> None:
    recorder = Recorder()
    first = recorder.invoke("a", "create", Args("c"), 0)
    recorder.invoke("b", "create", Args("c"), 1)
    first.returned(2, OK)
    assert recorder.history() == [call("a", "create", 0, 2), call("b", "create", 1, None)]


def test_candidates_can_be_inferred_from_what_users_saw() -> None:
    users = [one for one in (*CHOSEN, view("b", 8, 9, CHOSE_1)) if one.op != "candidate"]
    assert not check(users).ok
    assert check(infer_candidates(users)).ok
    assert check(infer_candidates([*ASKED, call("a", "choose", 6, 7, node=1)])).ok
    assert not check(infer_candidates([*users, call("b", "choose", 10, 11, node=2)])).ok


def test_an_llm_that_never_repeats_itself_proves_that_a_retry_was_done() -> None:
    seen = (*ASKED, view("b", 4, 5, ONLY_1), call("a", "retry", 6, 7))
    same, other = view("b", 8, 9, ONLY_1), view("b", 8, 9, SeenTurn("Q", {1: "B1"}))
    assert check(infer_candidates([*seen, other], repeating=False)).ok
    assert check(infer_candidates([*seen, same])).ok
    assert not check(infer_candidates([*seen, same], repeating=False)).ok


def test_what_nodes_say_again_can_be_inferred_but_not_more_often_than_they_were_asked() -> None:
    def seen_twice(*retries: Call) -> Sequence[Call]:
        return infer_candidates([*ASKED, *retries, view("b", 6, 7, ONLY_1), view("b", 8, 9, OPEN_Q),
                                 view("b", 10, 11, ONLY_1), view("b", 12, 13, OPEN_Q)])  # fmt: skip

    once, again = call("a", "retry", 4, None), call("c", "retry", 4, None)
    assert check(seen_twice(once, again)).ok
    assert not check(seen_twice(once)).ok
    assert not check(seen_twice(once, call("c", "retry", 4, None, node=2))).ok
    failed = SeenTurn("Q", {1: None}, kind="ask")
    ask = (CREATED, call("a", "ask", 2, 3, text="Q"))
    assert check(infer_candidates([*ask, call("a", "retry", 4, 5, node=1), view("b", 6, 7, failed)])).ok
    assert not check([*ask, call("a", "retry", 4, 5, node=1)]).ok


# --- The model says what the store does --------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_model_and_store_agree(seed: int) -> None:
    rng = random.Random(seed)
    mix = Mix(nodes=2, texts=3, retries=0.2)
    store, state = Store(), None
    for position in range(40):
        op, args = random_operation(rng, state, mix)
        if op == "view":
            continue
        state, outcome = apply(state, op, args)
        assert (outcome.ok, outcome.reason, outcome.turn) == store_says(store, position, op, args)
        assert shown(state) == shown_by(store)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_model_and_store_agree_on_other_answers(seed: int) -> None:
    """Also on what nobody sees at once: in which round an LLM is, and what is called off."""
    rng = random.Random(seed)
    store, family = Store(), Family()
    for position, (op, args) in enumerate([("create", Args("c")), *(_revision(rng) for _ in range(60))]):
        family, outcome = apply_to_family(family, op, args)
        assert (outcome.ok, outcome.reason, outcome.turn) == store_says(store, position, op, args), (op, args)
        life = family.of("c")
        assert shown(as_shown(life and life.turns)) == shown_by(store)


def _revision(rng: random.Random) -> tuple[Op, Args]:
    """Mostly such as bring about answers, and others in place of those."""
    ops: tuple[Op, ...] = ("query", "ask", "candidate", "answer", "choose", "retry", "cancel", "regenerate", "synth",
                           "synthesis")  # fmt: skip
    op = rng.choices(ops, (3, 3, 12, 4, 1, 1, 0.3, 3, 4, 5))[0]
    text = rng.choice(("x", "y", "z", None))
    node, turn, round = rng.randint(1, 3), rng.choice((None, None, None, 1, 2)), rng.choice((0, 0, 1, 2))
    match op:
        case "query" | "ask":
            return op, Args("c", text or "q")
        case "candidate" | "answer" | "synthesis":
            return op, Args("c", text, node, turn or rng.randint(1, 3), round)
        case "choose":
            return op, Args("c", node=rng.randint(0, 3), turn=turn)
        case "retry" | "synth":
            return op, Args("c", node=rng.choice((None, None, node)), turn=turn)
    return op, Args("c", turn=turn)


def store_says(store: Store, position: int, op: Op, args: Args) -> tuple[bool, str | None, int | None]:
    context, text, node, turn, round = args.context or "", args.text, args.node or 0, args.turn, args.round or 0
    error = "failed" if text is None else None
    command: operations.StoreOperation
    match op:
        case "create":
            command = operations.Create(context)
        case "query":
            command = operations.Query(context, text or "")
        case "ask":
            command = operations.Ask(context, text or "")
        case "candidate":
            command = operations.Candidate(context, turn or 0, node, text, error, round=round)
        case "answer":
            command = operations.Answer(context, turn or 0, node, text, error, round=round)
        case "choose":
            command = operations.Choose(context, node, turn)
        case "retry":
            command = operations.Retry(context, turn, args.node)
        case "regenerate":
            command = operations.Regenerate(context, turn)
        case "synth":
            command = operations.Synthesize(context, turn, args.node)
        case "synthesis":
            command = operations.Synthesized(context, turn or 0, node, text, error, round=round)
        case _:
            command = operations.Cancel(context, turn)
    outcome = store.apply(position, payloads.encode(command))
    return outcome.ok, reason(outcome.error), outcome.turn


def shown_by(store: Store) -> tuple[SeenTurn, ...] | None:
    conversation = store.conversations.get("c")
    if conversation is None:
        return None
    return tuple(
        SeenTurn(turn.text, {node: response.text for node, response in turn.candidates.items()}, turn.chosen,
                 turn.cancelled, turn.kind.value, turn.regenerating or turn.open_synthesis is not None)
        for turn in conversation.turns
    )  # fmt: skip


# --- Executions: histories of which the order is known -----------------------------------------------------------


MIXES = [
    Mix(),
    Mix(overlap=20, open_share=0.4, users=20),
    Mix(told=0.0, views=0.1, open_share=0.4, texts=2, overlap=8),
    Mix(contexts=4, nodes=5, overlap=12, users=20),
    Mix(views=0.02, told=1.0, overlap=10, users=50),
    Mix(retries=0.2),
    Mix(retries=0.2, rounds=0.0, overlap=8, open_share=0.3, nodes=5),
    Mix(retries=0.1, rounds=0.5, told=0.0, views=0.1, open_share=0.4, texts=2, overlap=8),
    Mix(retries=0.5, overlap=20, open_share=0.4, users=20),
]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from(MIXES))
def test_executions_are_accepted(seed: int, mix: Mix) -> None:
    history = execution(random.Random(seed), 80, mix)
    verdict = check(history)
    assert verdict.ok, verdict
    verdict = check(infer_candidates([one for one in history if one.op not in ("candidate", "answer")]))
    assert verdict.ok, verdict


@pytest.mark.parametrize("mix", MIXES)
def test_long_executions_are_judged_with_little_search(mix: Mix) -> None:
    """Work, unlike time, is the same on every machine: it grows with the history, not exponentially."""
    verdict = check(execution(random.Random(7), 1000, mix))
    assert verdict.ok, verdict
    assert verdict.explored < 20_000


# --- Executions that are tampered with ---------------------------------------------------------------------------


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_tampering_is_caught(tamper: Tampering) -> None:
    caught = total = 0
    for seed in range(40):
        rng = random.Random(seed)
        history = tampered(rng, execution(rng, 80, Mix(overlap=3, open_share=0.1, stale_share=0)), tamper)
        if history is None:
            continue  # there was nothing of that kind in it
        answer = check(history, explain=False).answer
        assert answer != "unknown"
        caught += answer == "violation"
        total += 1
    assert total >= 20
    assert caught >= TAMPERINGS[tamper] * total


def test_an_open_turn_in_the_wrong_order_is_caught_although_retries_take_answers_away() -> None:
    caught = total = 0
    for seed in range(60):
        rng = random.Random(seed)
        mix = Mix(overlap=1, open_share=0.0, stale_share=0, retries=0.1, views=0.4)
        history = with_views_swapped(rng, execution(rng, 80, mix))
        if history is not None:
            caught += check(history, explain=False).answer == "violation"
            total += 1
    assert total >= 40 and caught >= 0.9 * total


# --- Brute force -------------------------------------------------------------------------------------------------


def brute_force(history: Sequence[Call], fifo: bool = True) -> bool:
    """Whether some order of the calls explains the history: tries all of them."""
    return all(
        _some_order(sorted(calls, key=lambda one: one.invoked_at), Family(), fifo, set())
        for _, calls in families(history)
    )


def _some_order(left: Sequence[Call], state: Family, fifo: bool, hopeless: set[tuple[frozenset[int], Family]]) -> bool:
    """`hopeless`: calls, by their ids, that nothing explains from a state."""
    if all(one.is_open for one in left):
        return True
    here = frozenset(map(id, left)), state
    if here in hopeless:
        return False
    for i, one in enumerate(left):
        begins = ALWAYS if one.result and one.result.stale else one.invoked_at
        if any(other.returned_at is not None and other.returned_at < begins for other in left):
            continue
        overtaken = [other for other in left[:i] if fifo and _in_order(other, one)]
        if any(not other.is_open for other in overtaken):
            continue
        after, outcome = apply_to_family(state, one.op, one.args)
        if one.result is not None and not agrees_in_family(one.result, after, one.args, outcome):
            continue
        if one.result is not None and not one.result.ok:
            after = state  # a quota refused it, of which the model knows nothing
        rest = [other for other in left if other is not one and other not in overtaken]
        if _some_order(rest, after, fifo, hopeless):
            return True
    hopeless.add(here)
    return False


def _in_order(one: Call, other: Call) -> bool:
    users = {"create", "query", "ask", "choose", "retry", "cancel", *ANY_LIFE}
    return one.process == other.process and one.op in users and other.op in users and one.invoked_at != ALWAYS


def small_history(seed: int) -> list[Call]:
    """Of at most 8 calls about one conversation, in half of the cases tampered with."""
    rng = random.Random(seed)
    mix = Mix(nodes=2, texts=rng.choice([1, 2, 9]), overlap=rng.choice([1, 3, 6]), open_share=rng.choice([0, 0.3, 0.8]),
              told=rng.random(), users=rng.choice([1, 3]), views=rng.choice([0.1, 0.3, 0.6]))  # fmt: skip
    return _perhaps_tampered(rng, execution(rng, rng.randint(2, 8), mix))


def small_history_of_retries(seed: int) -> list[Call]:
    """The same, after a few calls at the beginning that need no order, so that retries find something to take away."""
    rng = random.Random(seed)
    mix = Mix(nodes=2, texts=rng.choice([1, 2, 9]), overlap=rng.choice([1, 3, 6]), open_share=rng.choice([0, 0.3, 0.8]),
              told=rng.random(), users=rng.choice([1, 3]), views=rng.choice([0.2, 0.4]), retries=rng.choice([0.2, 0.5]),
              rounds=rng.choice([0.0, 0.5, 1.0]))  # fmt: skip
    history = execution(rng, rng.randint(4, 9), mix, begun=rng.choice(["query", "query", "ask"]))
    if rng.random() < 0.5:
        history = with_views_swapped(rng, history) or history
    return _perhaps_tampered(rng, history)


def _perhaps_tampered(rng: random.Random, history: list[Call]) -> list[Call]:
    for _ in range(rng.choice([0, 1, 1, 2])):
        history = tampered(rng, history, rng.choice(list(TAMPERINGS))) or history
    return history


def compare_with_brute_force(make: Callable[[int], list[Call]], seeds: range) -> dict[bool, int]:
    verdicts = {True: 0, False: 0}
    for seed in seeds:
        history, fifo = make(seed), seed % 3 > 0
        expected = brute_force(history, fifo)
        verdict = check(history, fifo=fifo, explain=False)
        assert verdict.ok == expected, "\n".join([f"seed {seed}, expected {expected}", *map(str, history)])
        verdicts[expected] += 1
    return verdicts


@pytest.mark.parametrize(("make", "count"), [(small_history, 5000), (small_history_of_retries, 2500)])
def test_small_histories_are_judged_as_by_brute_force(make: Callable[[int], list[Call]], count: int) -> None:
    verdicts = compare_with_brute_force(make, range(count))
    assert min(verdicts.values()) > 500, "both kinds must occur often"


@pytest.mark.parametrize("make", [small_history, small_history_of_retries])
def test_the_search_for_any_life_judges_small_histories_as_brute_force_does(make: Callable[[int], list[Call]]) -> None:
    for seed in range(600):
        history, fifo = make(seed), seed % 3 > 0
        answers = [PlainSearch(calls, fifo).run(BUDGET) for _, calls in families(history)]
        assert (set(answers) <= {"ok"}) == brute_force(history, fifo), "\n".join([f"seed {seed}", *map(str, history)])


def test_an_order_is_found_among_very_many_open_calls_if_few_took_effect() -> None:
    """Of 60 questions of which nobody knows what came, six were asked: as many were cancelled."""
    asked = [call(f"p{i}", "query", 1, None, text=f"Q{i}") for i in range(60)]
    cancelled = [call("a", "cancel", 2 + i, 2.5 + i) for i in range(6)]
    assert PlainSearch([CREATED, *asked, *cancelled], fifo=True).run(500) == "ok"
    assert PlainSearch([CREATED, *asked[:5], *cancelled], fifo=True).run(2_000) == "violation"


def test_explanations_are_violations_themselves() -> None:
    for seed in range(400):
        history = small_history(seed) if seed % 2 else small_history_of_retries(seed)
        for failure in check(history).failures:
            assert not brute_force(failure.prefix)
            known = [one for one in history if one.invoked_at <= max(last.invoked_at for last in failure.prefix)]
            others = {i for i, one in enumerate(known) if one not in (*failure.contradiction, *failure.bystanders)}
            needed = [late for one in known for late in (unanswered(one) if one in failure.bystanders else [one])]
            assert not brute_force(with_freed(needed, others), failure.fifo)
