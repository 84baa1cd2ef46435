"""Every reachable state of a small scope is valid; and the search would detect an invalid one."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

import paxos.candidate
from paxos.acceptor import Acceptor
from paxos.ballot import Leadership
from paxos.candidate import Candidate, Inheritance
from paxos.leader import Leader
from paxos.log import Log
from paxos.messages import Accept, Accepted, Entry, Operation, Prepare, Promise
from tests.simulation.exhaustive import (
    BRIEF_SCOPES,
    COUNTER,
    DUEL,
    GROWING,
    MEMBERS_SCOPES,
    RECOVERING,
    SCOPES,
    SHRINKING,
    Scope,
    Search,
    story,
)

STATES = dict(zip(SCOPES, (214_579, 81_556, 291_898, 719_205), strict=True)) | {
    SHRINKING: 3_753, GROWING: 1_222, RECOVERING: 2_766,
} | dict(zip(BRIEF_SCOPES, (7_091, 1_925), strict=True))
"""Asserted exactly, so that a change of the core's reachable states is noticed. After an intended change, run
`python -m tests.simulation.exhaustive` and write its numbers here. Two long searches are left to that command; of these
two, the brief ones have every kind of step."""


TESTED = (*(scope for scope in SCOPES if scope.mortal not in (1, 3)), *BRIEF_SCOPES, *MEMBERS_SCOPES)


@pytest.mark.slow
@pytest.mark.parametrize("scope", TESTED, ids=str)
def test_every_reachable_state_is_sound(scope: Scope) -> None:
    search = Search(scope)
    states = search.run()
    print(f"{states} states, {len(search.levels) - 1} steps deep")
    assert states == STATES[scope]


def test_more_than_a_million_states() -> None:
    assert sum(STATES.values()) >= 1_000_000


# ---- Known bugs, to show that the invariants detect them

original_prepare = Acceptor.prepare
original_accept = Acceptor.accept
original_next_operations = Leader._next_operations


def forgetful_promise(acceptor: Acceptor, sender: int, message: Prepare) -> bool:
    rose = original_prepare(acceptor, sender, message)
    sent = acceptor._effects._output.send_after_persist
    to, reply = sent[-1]
    if isinstance(reply, Promise):
        sent[-1] = (to, msgspec.structs.replace(reply, entries=[]))
    return rose


def unstored_promise(acceptor: Acceptor, sender: int, message: Prepare) -> bool:
    rose = original_prepare(acceptor, sender, message)
    acceptor._effects.to_persist().promised = None
    return rose


def unstored_acceptance(acceptor: Acceptor, sender: int, message: Accept) -> bool:
    rose = original_accept(acceptor, sender, message)
    acceptor._effects.to_persist().entries.clear()
    return rose


def accepting_below_the_promise(acceptor: Acceptor, sender: int, message: Accept) -> bool:
    entries = acceptor._log.accept(message.ballot.leadership, message.ballot.op_num, message.operations)
    acceptor._effects.to_persist().entries.extend(entries)
    accepted = Accepted(message.ballot, len(message.operations), acceptor._registry.vouches_as)
    acceptor._effects.send_after_persist(sender, accepted)
    return False


def trusting_older_acceptances(log: Log, leadership: Leadership, upto: int) -> int:
    before = log.decided_upto
    while log.decided_upto < upto and log.get(log.decided_upto + 1) is not None:
        log.decided_upto += 1
    return log.decided_upto - before


class OldestFirst(Inheritance):
    def __init__(self, start: int, promises: Iterable[Promise]) -> None:
        turned = [
            Promise(p.ballot, [Entry(e.position, (-e.leadership[0], -e.leadership[1]), e.operation) for e in p.entries],
                    p.decided_upto)
            for p in promises
        ]
        super().__init__(start, turned)


def one_promise_is_enough(candidate: Candidate, sender: int, message: Promise) -> Inheritance | None:
    return Inheritance(message.ballot.op_num, [message]) if message.ballot == candidate.ballot else None


def going_on_behind_a_stop_sign(leader: Leader, batch_bytes: float) -> list[Operation]:
    leader._stops_at = None
    return original_next_operations(leader, batch_bytes)


MUTANTS: dict[str, tuple[object, str, object, Scope]] = {
    "a promise that leaves out what was accepted": (Acceptor, "prepare", forgetful_promise, Scope(DUEL)),
    "a promise that is not stored": (Acceptor, "prepare", unstored_promise, Scope(DUEL, mortal=3)),
    "an acceptance that is not stored": (Acceptor, "accept", unstored_acceptance, Scope(DUEL, mortal=3)),
    "accepting below the promise": (Acceptor, "accept", accepting_below_the_promise, Scope(DUEL)),
    "an older acceptance taken for decided": (Log, "decide", trusting_older_acceptances, Scope(DUEL)),
    "the operation of the oldest leadership proposed again": (
        paxos.candidate, "Inheritance", OldestFirst, Scope(COUNTER),
    ),
    "proposing behind a stop-sign that is not decided": (
        Leader, "_next_operations", going_on_behind_a_stop_sign, Scope(((1, 1),), ((1, 1),), following=(1, 2)),
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
