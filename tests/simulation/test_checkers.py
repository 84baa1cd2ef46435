"""Every checker reports what must not happen, and accepts what may. (That they see enough of a
whole cluster is what test_mutants.py shows.)"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from kvstore.operations import Create, Query
from kvstore.store import Outcome, Store
from paxos.ballot import Ballot
from paxos.candidate import Candidate
from paxos.limits import Limits
from paxos.messages import NOOP, Accept, Accepted, Confirmed, Entry, Heartbeat, Operation, Prepare, Promise
from paxos.output import Applied, Divergence, Persist, VoterStatus
from tests.simulation.checkers import all_checkers
from tests.simulation.checkers.acknowledged import Acknowledged, Lost
from tests.simulation.checkers.agreement import Agreement, Disagreement
from tests.simulation.checkers.bounds import LOOK_EVERY, Bounds, TooMuch
from tests.simulation.checkers.chosen import Chosen, NotChosen
from tests.simulation.checkers.digests import Digests, Slandered
from tests.simulation.checkers.durable import Durability, NotDurable
from tests.simulation.checkers.gossip import Gossip, StaleGossip
from tests.simulation.checkers.inherited import Inherited, NotInherited
from tests.simulation.checkers.leaderships import Leaderships, TwoLeaders
from tests.simulation.checkers.once import ExactlyOnce, NotOnce
from tests.simulation.checkers.states import DifferentStates, EqualStates
from tests.simulation.checkers.voters import NoVoter, Voters
from tests.simulation.world import Observer, World

OTHER = Operation(1, 1, 1, b"something else")


def crowded_candidate() -> Candidate:
    candidate = Candidate(Ballot(9, 1, 1), 2, Limits(), 0.0)
    candidate.offer([OTHER] * 300)
    return candidate


def settled(*checkers: Observer) -> World:
    """Three nodes that have decided a few operations, with these checkers."""
    world = World(1, (1, 2, 3), observers=checkers)
    world.start()
    world.run(2.0)
    for number in range(4):
        world.nodes[1 + number % 3].submit(Create(f"c{number}"), lambda applied, outcome: None)
        world.run(0.2)
    assert {node.replica.applied for node in world.nodes.values()} == {4}
    return world


def leader(world: World) -> int:
    return next(node.pid for node in world.nodes.values() if node.replica.leader is not None)


def test_none_of_them_complains_of_a_quiet_cluster() -> None:
    world = settled(*all_checkers())
    for settled_hook in world.hooks["settled"]:
        settled_hook(world, list(world.nodes.values()))


def test_agreement() -> None:
    checker = Agreement()
    world = settled(checker)
    node = world.nodes[2]
    checker.started(world, node, node.disk.image)
    node.replica.log._entries[2] = Entry(2, (1, 1), OTHER)
    with pytest.raises(Disagreement, match="elsewhere"):
        checker.stepped(world, node)


def test_agreement_misses_nothing() -> None:
    checker = Agreement()
    world = settled(checker)
    node = world.nodes[2]
    node.replica.log.decided_upto = 6
    with pytest.raises(Disagreement, match="not what"):
        checker.stepped(world, node)


def test_what_no_quorum_accepted_is_not_decided() -> None:
    checker = Chosen()
    world = settled(checker)
    node = world.nodes[leader(world)]
    checker.stored(world, node, Persist(entries=[Entry(5, (9, 1), OTHER)]))
    node.replica.log._entries[5] = Entry(5, (9, 1), OTHER)
    node.replica.log.decided_upto = 5
    with pytest.raises(NotChosen, match="no quorum"):
        checker.stepped(world, node)
    checker.stored(world, world.nodes[1 + node.pid % 3], Persist(entries=[Entry(5, (9, 1), OTHER)]))
    checker.stepped(world, node)


def test_what_is_chosen_stays_chosen() -> None:
    checker = Chosen()
    world = settled(checker)
    with pytest.raises(NotChosen, match="proposes"):
        checker.sent(world, world.nodes[1], 2, Accept(Ballot(9, 1, 3), [OTHER], 2))
    checker.sent(world, world.nodes[1], 2, Accept(Ballot(0, 1, 3), [OTHER], 2))  # an old leader may still try


@pytest.mark.parametrize("message", [
    Promise(Ballot(9, 1, 5), [], 4),
    Accepted(Ballot(9, 1, 5), 1),
    Prepare(Ballot(9, 1, 5)),
])
def test_nobody_vouches_for_what_is_not_on_disk(message: Promise | Accepted | Prepare) -> None:
    checker = Durability()
    world = settled(checker)
    with pytest.raises(NotDurable, match="on disk"):
        checker.sent(world, world.nodes[1], 1, message)


def test_a_promise_shows_everything() -> None:
    checker = Durability()
    world = settled(checker)
    node = world.nodes[2]
    node.disk.write([Persist(promised=Ballot(9, 1, 1))])
    complete = Promise(Ballot(9, 1, 1), list(node.disk.entries.values()), 4)
    checker.sent(world, node, 1, complete)
    with pytest.raises(NotDurable, match="leaves"):
        checker.sent(world, node, 1, Promise(Ballot(9, 1, 1), complete.entries[:-1], 4))


@pytest.mark.parametrize("item", [
    Persist(promised=Ballot(0, 1, 1)),
    Persist(entries=[Entry(5, (0, 1), OTHER)]),
    Persist(entries=[Entry(5, (9, 1), OTHER)]),
])
def test_promises_on_disk_never_go_back(item: Persist) -> None:
    checker = Durability()
    world = settled(checker)
    node = world.nodes[leader(world)]
    with pytest.raises(NotDurable):
        checker.stored(world, node, item)


def test_what_was_vouched_for_is_there_after_a_crash() -> None:
    checker = Durability()
    world = settled(checker)
    node = world.nodes[leader(world)]
    checker._vouched[node.disk.image.identity] = {7: (1, 1)}
    with pytest.raises(NotDurable, match="forgotten"):
        checker.started(world, node, node.disk.image)


def test_one_node_acts_for_a_leadership_between_two_starts() -> None:
    checker = Leaderships()
    world = settled(checker)
    node = world.nodes[leader(world)]
    leadership = node.replica.acceptor.promised
    node.incarnation += 1
    with pytest.raises(TwoLeaders, match="acted for it"):
        checker.sent(world, node, 2, Accept(leadership.at(5), [OTHER], 4))


def test_nobody_leads_without_a_quorum() -> None:
    checker = Leaderships()
    world = settled(checker)
    with pytest.raises(TwoLeaders, match="0 promises"):
        checker.sent(world, world.nodes[1], 2, Accept(Ballot(9, 1, 5), [OTHER], 4))


def test_a_leader_proposes_one_operation_for_each_position() -> None:
    checker = Leaderships()
    world = settled(checker)
    node = world.nodes[leader(world)]
    ballot = node.replica.acceptor.promised
    checker.sent(world, node, 2, Accept(ballot.at(5), [OTHER], 4))
    with pytest.raises(TwoLeaders, match="proposed"):
        checker.sent(world, node, 2, Accept(ballot.at(5), [NOOP], 4))


def test_a_new_leader_proposes_what_the_highest_leadership_accepted() -> None:
    checker = Inherited()
    world = settled(checker)
    low, high = Entry(5, (2, 2), NOOP), Entry(5, (3, 3), OTHER)
    for node, entry in ((world.nodes[1], low), (world.nodes[2], high)):
        checker.sent(world, node, 1, Promise(Ballot(9, 1, 5), [entry], 4, node.disk.image.identity))
    with pytest.raises(NotInherited):
        checker.sent(world, world.nodes[1], 2, Accept(Ballot(9, 1, 5), [NOOP], 4))
    checker._looked.clear()
    checker.sent(world, world.nodes[1], 2, Accept(Ballot(9, 1, 5), [OTHER], 4))


def test_exactly_once_and_in_order() -> None:
    checker = ExactlyOnce()
    world = settled(checker)
    node = world.nodes[1]
    last = node.replica.sessions.table()[1]
    operation = Operation(1, last[0], last[1] + 1, b"")
    outcome = Outcome(Create("x"), True)
    checker.applied(world, node, Applied(5, operation), outcome)
    with pytest.raises(NotOnce, match="after 5"):
        checker.applied(world, node, Applied(5, operation), outcome)
    with pytest.raises(NotOnce, match="already"):
        checker.applied(world, node, Applied(6, operation), outcome)
    with pytest.raises(NotOnce, match="right after"):
        checker.applied(world, node, Applied(7, Operation(1, last[0], last[1] + 3, b"")), outcome)


def test_the_same_question_is_not_applied_under_two_names() -> None:
    checker = ExactlyOnce()
    world = settled(checker)
    outcome = Outcome(Query("c0", "only once"), True)
    checker.applied(world, world.nodes[1], Applied(5, Operation(2, 9_000_000_000_000, 1, b"")), outcome)
    with pytest.raises(NotOnce, match="already"):
        checker.applied(world, world.nodes[1], Applied(6, Operation(2, 9_000_000_000_001, 1, b"")), outcome)


def test_equal_positions_mean_equal_states() -> None:
    checker = EqualStates()
    world = settled(checker)
    node = world.nodes[3]
    node.store = Store()
    with pytest.raises(DifferentStates, match="another state"):
        checker.applied(world, node, Applied(4, OTHER), Outcome(None, False))


def test_equal_positions_mean_equal_sessions() -> None:
    checker = EqualStates()
    world = settled(checker)
    node = world.nodes[3]
    node.replica.sessions._last[1] = (1, 1)
    checker._looked[3] = 0
    with pytest.raises(DifferentStates, match="remembers"):
        checker.stepped(world, node)


def test_what_was_acknowledged_stays() -> None:
    checker = Acknowledged()
    world = settled(checker)
    checker.settled(world, list(world.nodes.values()))
    checker.acknowledged(world, world.nodes[1], Applied(9, OTHER, 1), Outcome(None, False))
    with pytest.raises(Lost, match="was acknowledged"):
        checker.settled(world, list(world.nodes.values()))
    with pytest.raises(Lost, match="was done"):
        checker.applied(world, world.nodes[2], Applied(9, NOOP), Outcome(None, False))


@pytest.mark.parametrize("grow", [
    lambda world: setattr(world.nodes[1].replica.proposer, "candidate", crowded_candidate()),
    lambda world: world.nodes[leader(world)].replica.leader._queue.extend([OTHER] * 2000),
    lambda world: setattr(world.nodes[1].replica.log, "last", 5000),
    lambda world: setattr(world.nodes[1].replica.log, "compacted", -5000),
])
def test_nothing_grows_without_bound(grow: Callable[[World], None]) -> None:
    checker = Bounds()
    world = settled(checker)
    grow(world)
    with pytest.raises(TooMuch):
        for _ in range(20):
            for node in world.nodes.values():
                checker.stepped(world, node)


def test_a_storm_of_messages_is_noticed() -> None:
    checker = Bounds()
    world = settled(checker)
    with pytest.raises(TooMuch, match="messages in"):
        for _ in range(2000):
            checker.sent(world, world.nodes[1], 2, Prepare(Ballot(1, 1, 1)))


def test_promises_are_bounded() -> None:
    checker = Bounds()
    world = settled(checker)
    entries = [Entry(position, (1, 1), OTHER) for position in range(1, world.limits.lag + 2)]
    checker.sent(world, world.nodes[1], 2, Promise(Ballot(2, 2, 1), entries, world.limits.lag))
    with pytest.raises(TooMuch, match="decided operations in a promise"):
        checker.sent(world, world.nodes[1], 2, Promise(Ballot(2, 2, 1), entries, world.limits.lag + 1))
    large = Operation(1, 1, 1, bytes(world.limits.lag_bytes + 1))
    with pytest.raises(TooMuch, match="bytes"):
        checker.sent(world, world.nodes[1], 2, Promise(Ballot(2, 2, 1), [Entry(1, (1, 1), large)], 1))


def test_news_never_get_older() -> None:
    checker = Gossip()
    world = settled(checker)
    node = world.nodes[1]
    states = [state for state in node.replica.net.states.values() if state.pid != node.pid]
    checker.sent(world, node, 2, Heartbeat(states, {}, 0.0, {}))
    older = [msgspec.structs.replace(state, version=(state.version[0], state.version[1] - 1)) for state in states]
    with pytest.raises(StaleGossip, match="told version"):
        checker.sent(world, node, 2, Heartbeat(older, {}, 0.0, {}))
    node.crash()
    node.start()
    checker.sent(world, node, 2, Heartbeat(older, {}, 0.0, {}))


@pytest.mark.parametrize("message", [
    Promise(Ballot(1, 1, 1), [], 0), Accepted(Ballot(1, 1, 1), 1), Confirmed(Ballot(1, 1, 1), 1),
])
def test_a_node_without_its_disk_does_not_vote(message: Promise | Accepted | Confirmed) -> None:
    checker = Voters()
    world = settled(checker)
    node = world.nodes[2]
    checker.sent(world, node, 1, message)
    node.crash()
    node.wipe()
    assert node.standing_on_disk is VoterStatus.NEW
    with pytest.raises(NoVoter):
        checker.sent(world, node, 1, message)


def test_what_waits_for_the_disk_is_not_counted() -> None:
    checker = Bounds()
    world = settled(checker)
    node = world.nodes[1]
    stored = max(node.disk.entries)
    node.replica.log.decided_upto = stored + 5000
    for _ in range(LOOK_EVERY):
        checker.stepped(world, node)
    node.replica.log.compacted = stored - 5000
    with pytest.raises(TooMuch, match="decided and kept"):
        for _ in range(LOOK_EVERY):
            checker.stepped(world, node)


def test_who_lies_about_its_own_state_may_be_warned_of_and_stops_nobody() -> None:
    checker = Digests()
    world = settled(checker)
    world.hostile.add(1)
    checker.diverged(world, world.nodes[3], Divergence(2, (1,), minority=False))
    for told in (Divergence(2, (2,), minority=False), Divergence(2, (1, 2), minority=False),
                 Divergence(2, (1,), minority=True)):  # fmt: skip
        with pytest.raises(Slandered):
            checker.diverged(world, world.nodes[3], told)
