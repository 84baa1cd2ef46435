"""Every reachable state of a small scope is sound; and the search would notice if one were not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import paxos.proposer
from paxos.acceptor import Acceptor
from paxos.ballot import Leadership
from paxos.log import Log
from paxos.messages import Accept, Accepted, Entry, Prepare, Promise, Reject
from paxos.proposer import Candidate, Inheritance
from tests.simulation.exhaustive import COUNTER, DUEL, SCOPES, Scope, Search, story

STATES = dict(zip(SCOPES, (226_019, 81_777, 294_238, 743_859), strict=True))
"""Asserted exactly, so that a change in what the core can get into is noticed. After a change that is meant to be, run
`python -m tests.simulation.exhaustive` and write its numbers here."""


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_every_reachable_state_is_sound(scope: Scope) -> None:
    search = Search(scope)
    states = search.run()
    print(f"{states} states, {len(search.levels) - 1} steps deep")
    assert states == STATES[scope]


def test_more_than_a_million_states() -> None:
    assert sum(STATES.values()) >= 1_000_000


# ---- Known mistakes, to see that the invariants bite

original_prepare = Acceptor.prepare
original_accept = Acceptor.accept


def forgetful_promise(acceptor: Acceptor, message: Prepare) -> tuple[Promise | Reject, bool]:
    reply, fresh = original_prepare(acceptor, message)
    return (Promise(reply.ballot, [], reply.decided) if isinstance(reply, Promise) else reply), fresh


def unstored_promise(acceptor: Acceptor, message: Prepare) -> tuple[Promise | Reject, bool]:
    return original_prepare(acceptor, message)[0], False


def unstored_acceptance(
    acceptor: Acceptor, message: Accept
) -> tuple[Accepted | Reject | None, bool, list[Entry]]:
    reply, fresh, _ = original_accept(acceptor, message)
    return reply, fresh, []


def accepting_below_the_promise(
    acceptor: Acceptor, message: Accept
) -> tuple[Accepted | Reject | None, bool, list[Entry]]:
    entries = acceptor.log.accept(message.ballot.leadership, message.ballot.op_num, message.operations)
    return Accepted(message.ballot, len(message.operations)), False, entries


def trusting_older_acceptances(log: Log, leadership: Leadership, upto: int) -> int:
    before = log.decided
    while log.decided < upto and log.get(log.decided + 1) is not None:
        log.decided += 1
    return log.decided - before


class OldestFirst(Inheritance):
    def __init__(self, start: int, promises: Iterable[Promise]) -> None:
        turned = [
            Promise(p.ballot, [Entry(e.position, (-e.leadership[0], -e.leadership[1]), e.operation) for e in p.entries],
                    p.decided)
            for p in promises
        ]
        super().__init__(start, turned)


def one_promise_is_enough(candidate: Candidate, sender: int, message: Promise) -> Inheritance | None:
    return Inheritance(message.ballot.op_num, [message]) if message.ballot == candidate.ballot else None


MUTANTS: dict[str, tuple[object, str, object, Scope]] = {
    "a promise that leaves out what was accepted": (Acceptor, "prepare", forgetful_promise, Scope(DUEL)),
    "a promise that is not stored": (Acceptor, "prepare", unstored_promise, Scope(DUEL, mortal=3)),
    "an acceptance that is not stored": (Acceptor, "accept", unstored_acceptance, Scope(DUEL, mortal=3)),
    "accepting below the promise": (Acceptor, "accept", accepting_below_the_promise, Scope(DUEL)),
    "an older acceptance taken for decided": (Log, "decide", trusting_older_acceptances, Scope(DUEL)),
    "the operation of the oldest leadership proposed again": (
        paxos.proposer, "Inheritance", OldestFirst, Scope(COUNTER),
    ),
    "leading with one promise": (Candidate, "promised", one_promise_is_enough, Scope(DUEL)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_known_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, replacement, scope = MUTANTS[mistake]
    monkeypatch.setattr(where, name, replacement)
    lines = story(scope)
    assert lines, "the search did not notice"
    print(*lines, sep="\n")
