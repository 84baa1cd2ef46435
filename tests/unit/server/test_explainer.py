"""What `explain` says: each step of the protocol in one sentence, however the messages come."""

from __future__ import annotations

import pytest

from kvstore.operations import Create
from kvstore.payloads import encode
from paxos.ballot import NOBODY, Ballot, ballot
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Confirm,
    Confirmed,
    Decide,
    Entry,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Operation,
    Outranked,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    Routed,
    SnapshotPiece,
)
from paxos.output import Applied, VoterStatus
from paxos.replica import Status
from server.explain_text import Phase
from server.explainer import Explainer

ME = 2
B = Ballot(4, 2, 17)
OTHER = Ballot(5, 3, 17)
OPERATION = Operation(3, 1, 1, encode(Create("c1")))
HEARTBEAT = Heartbeat([], {}, 0.0, {})


def status(
    role: str = "follower", leader: int | None = 1, mine: Ballot = B, links: tuple[int, ...] = (3, 4, 5)
) -> Status:
    return Status(ME, role, leader, mine, mine, 16, 16, 0, VoterStatus.VOTER, links)


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(ME, [1, 2, 3, 4, 5], status(links=(1, 3, 4, 5)))


def said(explainer: Explainer) -> list[str]:
    return [sentence.text for sentence in explainer.take()]


def to_all(message: AnyMessage) -> list[tuple[int, AnyMessage]]:
    return [(node, message) for node in (1, 3, 4, 5)]


def promise(entries: int = 0) -> Promise:
    return Promise(B, [Entry(17 + index, (3, 1), OPERATION) for index in range(entries)], 16)


def test_an_election(explainer: Explainer) -> None:
    explainer.changed(status(leader=None))
    assert said(explainer) == [
        "heartbeats with node 1 no longer pass both ways",
        "no leader: no node that I know of leads and reaches a majority",
    ]
    explainer.sent(to_all(Prepare(B)))
    explainer.received(ME, promise())
    assert said(explainer) == [
        "I campaign: Prepare <4,2,17> to nodes 1, 3, 4, 5",
        "this node promises <4,2,17>: 1 of the 3 that I need",
    ]
    explainer.sent([(1, Prepare(B)), (4, Prepare(B))])
    explainer.received(3, promise(entries=2))
    explainer.received(3, promise(entries=2))
    explainer.received(5, promise())
    explainer.sent(to_all(Decide(B.at(16))))
    explainer.changed(status("leader", ME))
    assert said(explainer) == [
        "Prepare <4,2,17> again to nodes 1, 4: no answer yet",
        "nodes 3, 5 promise <4,2,17>, reporting 2 operations to propose again: 3 of the 3 that I need",
        "prepared <4,2,17>: nodes 3, 5 and this one promise; that is a majority of 5; I lead",
        "told nodes 1, 3, 4, 5: decided up to <4,2,16>",
    ]
    explainer.received(4, promise())
    assert said(explainer) == [], "comes too late to matter"
    explainer.changed(status("follower", None))
    explainer.changed(status("leader", ME))
    assert said(explainer) == [
        "I no longer lead: my leadership <4,2> is outranked, or reaches no majority",
        "no leader: no node that I know of leads and reaches a majority",
        "I lead with <4,2> again: a majority is reachable",
    ]
    explainer.changed(status("follower", 3, OTHER))
    assert "node 3 claims <5,3>" in said(explainer)[1]


def test_a_leader_proposes(explainer: Explainer) -> None:
    one, more = Accept(B, [OPERATION], 16), Accept(B.at(18), [OPERATION] * 64, 17)
    explainer.sent(to_all(one))
    explainer.received(ME, Accepted(B, 1))
    explainer.received(3, Accepted(B, 1))
    explainer.received(3, Accepted(B, 1))
    assert said(explainer) == ["I propose <4,2,17> to nodes 1, 3, 4, 5"], "the same vote twice is one vote"
    explainer.received(5, Accepted(B, 1))
    explainer.received(4, Accepted(B, 1))
    explainer.applied([Applied(17, OPERATION)])
    explainer.sent(to_all(Decide(B)))
    assert said(explainer) == [
        "nodes 3, 5 and this one have accepted <4,2,17>; that is a majority of 5: decided",
        "applied position 17: create c1, submitted by node 3",
        "told nodes 1, 3, 4, 5: decided up to <4,2,17>",
    ]
    explainer.sent([*to_all(more), *to_all(Accept(B.at(82), [OPERATION] * 2, 17))])
    explainer.sent([(1, more)])
    assert said(explainer) == [
        "I propose 66 operations from <4,2,18> on, in 2 Accepts, to nodes 1, 3, 4, 5",
        "Accept <4,2,18> again to node 1: no answer yet",
    ]


def test_a_follower_accepts(explainer: Explainer) -> None:
    explainer.received(1, Prepare(B))
    explainer.sent([(1, promise(entries=1)), (3, HEARTBEAT)])
    explainer.received(1, HEARTBEAT)
    explainer.sent([(1, Accepted(B, 1)), (1, Accepted(B.at(18), 63))])
    explainer.received(1, Decide(B.at(80)))
    explainer.applied([Applied(position, OPERATION) for position in range(17, 81)])
    assert said(explainer) == [
        "promised node 1 <4,2,17>: I will accept nothing lower; I report 1 operation that I accepted",
        "accepted 64 operations from <4,2,17> on: now on my disk; replied to node 1",
        "node 1 says: decided up to <4,2,80>",
        "applied 64 operations, up to position 80",
    ]


def test_refusals(explainer: Explainer) -> None:
    explainer.sent([(1, Outranked(B, OTHER))])
    explainer.received(4, Behind(B, 30))
    assert said(explainer) == [
        "refused node 1 <4,2,17>: I have promised <5,3>",
        "node 4 refuses <4,2,17>: I lack what is decided up to position 30, and must learn that first",
    ]
    explainer.sent([(1, Behind(B, 30))])
    explainer.received(4, Outranked(B, OTHER))
    assert said(explainer) == [
        "refused node 1 <4,2,17>: it lacks what is decided up to position 30, and must learn that first",
        "node 4 refuses <4,2,17>: it has promised <5,3>",
    ]


def test_operations_on_their_way_are_counted_once(explainer: Explainer) -> None:
    forward = Forward([Operation(ME, 1, 1, b""), Operation(ME, 1, 2, b"")])
    explainer.sent([(1, forward)])
    explainer.sent([(1, forward)])
    explainer.received(3, Forward([OPERATION]))
    explainer.received(ME, forward)
    assert said(explainer) == ["forwarded 2 operations of mine to node 1, the leader", "node 3 forwards 1 operation"]


def test_reading_and_catching_up(explainer: Explainer) -> None:
    piece = SnapshotPiece(500, 2, 10, {}, [])
    explainer.sent(to_all(Confirm(B, 1)))
    explainer.received(ME, Confirmed(B, 1))
    explainer.received(3, Confirmed(B, 1))
    explainer.received(5, Confirmed(B, 1))
    explainer.sent([(1, ReadRequest((1, 1))), (3, ReadReply((1, 1), 16))])
    explainer.sent([(4, Fetch(17, 0, 0)), (5, Learn(3, [OPERATION], 16))])
    explainer.received(4, Learn(17, [OPERATION] * 4, 20))
    explainer.received(4, piece)
    explainer.sent([(5, piece)])
    explainer.installed(500)
    assert said(explainer) == [
        "linearizable read: do nodes 1, 3, 4, 5 know a leadership above my <4,2>?",
        "nodes 3, 5 know nothing above <4,2>",
        "asked node 1, the leader, which position a read must wait for",
        "told node 3: a read is up to date from position 16 on",
        "asked node 4 for what is decided from position 17 on",
        "sent node 5 1 operation that I know as decided, from position 3 on",
        "learned from node 4 that 4 operations from position 17 on are decided",
        "node 4 sends its snapshot: piece 3 of 10, everything up to position 500",
        "sent node 5 my snapshot: piece 3 of 10, everything up to position 500",
        "installed a snapshot of everything up to position 500",
    ]


def test_messages_that_take_a_detour(explainer: Explainer) -> None:
    explainer.sent([(3, Routed(ME, 1, 5, Forward([OPERATION])))])
    explainer.received(3, Routed(4, ME, 5, Forward([OPERATION])))
    explainer.received(3, Routed(4, 5, 5, Forward([OPERATION])))
    assert said(explainer) == [
        "forwarded 1 operation of mine to node 1, the leader", "node 4 forwards 1 operation",
        "relayed a message from node 4 to node 5: they have no link",
    ]


def test_every_sentence_has_a_phase_and_its_ballot(explainer: Explainer) -> None:
    explainer.sent(to_all(Prepare(B)))
    explainer.sent([(1, Fetch(17, 0, 0))])
    learner = Status(ME, "learner", 1, ballot(NOBODY), ballot(NOBODY), 0, 0, 0, VoterStatus.LEARNER, (1, 3))
    explainer.changed(learner)
    explainer.applied([Applied(1, Operation(3, 1, 1, b"garbage"))])
    sentences = explainer.take()
    assert [(s.phase, s.ballot) for s in sentences[:2]] == [(Phase.PREPARE, B), (Phase.LEARN, None)]
    texts = [sentence.text for sentence in sentences]
    assert "my disk is new and earlier promises are lost, so I follow as a non-voting learner" in texts
    assert texts[-1] == "applied position 1: not a command, submitted by node 3"
    assert explainer.take() == []
