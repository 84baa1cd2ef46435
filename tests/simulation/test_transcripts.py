"""Golden transcripts: the important scenarios as text that a student can read, in transcripts/.

    REWRITE_TRANSCRIPTS=1 python -m pytest tests/simulation/test_transcripts.py

rewrites them after an intended change; review the diff before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kvstore.operations import Create, Query, StoreOperation
from paxos.limits import Limits
from paxos.output import VoterStatus
from tests.simulation.transcript import Transcript, command_words
from tests.simulation.world import SIM_LIMITS, Weather, World

TRANSCRIPTS = Path(__file__).parent / "transcripts"
SEED = 7


class Stage:
    """A world with a transcript, and what scenes need to say."""

    def __init__(
        self, title: str, about: str, nodes: int, *, delay_ms: float = 5.0, limits: Limits = SIM_LIMITS,
        founded: bool = True,
    ) -> None:
        self.transcript = Transcript(title, about)
        weather = Weather(delay=delay_ms / 1000, jitter=0.0, fsync=0.003)
        self.world = World(
            SEED, range(1, nodes + 1), observers=[self.transcript], weather=weather, limits=limits,
            founded=founded,
        )
        self.pids = self.world.pids

    def formed(self, record: bool = True) -> None:
        """A cluster that runs well, led by node 1."""
        self.world.start()
        self.until(lambda: self.leader == 1 and self.quiet)
        self.world.run(0.3)
        if record:
            self.transcript.begin(self.world)

    @property
    def leader(self) -> int | None:
        """The leader that all running nodes that can follow a leader follow."""
        views = {node.replica.status().leader for node in self.world.nodes.values() if node.up}
        return views.pop() if len(views) == 1 else None

    @property
    def quiet(self) -> bool:
        """All running nodes have applied the same, and nothing is pending."""
        statuses = [node.replica.status() for node in self.world.nodes.values() if node.up]
        return len({status.applied for status in statuses}) == 1 and not any(status.queued for status in statuses)

    def until(self, condition: Callable[[], bool], within: float = 20.0) -> None:
        assert self.world.run_until(condition, within), self.transcript.text

    def remark(self, text: str) -> None:
        self.transcript.remark(text)

    def submit(self, pid: int, command: StoreOperation) -> None:
        self.remark(f"A user of node {pid}: {command_words(command)}")
        assert self.world.nodes[pid].submit(command, lambda applied, outcome: None)

    def cut(self, *arrows: tuple[int, int]) -> None:
        self.world.weather.cut |= set(arrows)

    def only(self, *links: tuple[int, int]) -> None:
        """Every link but these is cut, in both directions."""
        keep = {*links, *((other, one) for one, other in links)}
        arrows = {(one, other) for one in self.pids for other in self.pids if one != other}
        self.cut(*(arrows - keep))

    def heal(self) -> None:
        self.world.weather.cut = set()

    def crash(self, pid: int) -> None:
        self.remark(f"Node {pid} is killed")
        self.world.nodes[pid].crash()

    def restart(self, pid: int) -> None:
        self.remark(f"Node {pid} is started again")
        self.world.start([pid])


def election() -> Stage:
    """
    Three nodes start for the first time. Each stores the identities it has seen; once enough others have stored its
    own, it may vote. Node 1 has the smallest number among equals and campaigns first. Its claim is on its disk before
    any Prepare is sent, and a promise is on disk before it is sent. With promises of two out of three it leads, and
    has first of all decided which cluster this is and who its members are. That ends the time before the cluster was
    founded: it asks again, as all that follows is decided by these members.
    """
    stage = Stage("Election", election.__doc__ or "", 3, founded=False)
    stage.transcript.begin(stage.world)
    stage.world.start()
    stage.until(lambda: all(node.replica.cluster for node in stage.world.nodes.values()))
    stage.until(lambda: stage.leader == 1 and stage.world.nodes[1].replica.leader is not None)
    stage.world.run(0.1)
    return stage


def steady_state() -> Stage:
    """
    One round trip is enough: Accept, on disk at a quorum, Accepted. Operations of other nodes are forwarded
    first. An Accept need not wait for the one before it. The others learn from the next message what is decided or, if
    there is none, from a Decide.
    """
    stage = Stage("Steady state", steady_state.__doc__ or "", 3)
    stage.formed()
    stage.submit(1, Create("tea"))
    stage.until(lambda: stage.quiet and stage.world.nodes[1].replica.applied == 1)
    stage.submit(3, Query("tea", "green or black?"))
    stage.submit(3, Create("coffee"))
    stage.until(lambda: stage.quiet and stage.world.nodes[1].replica.applied == 3)
    return stage


def failover() -> Stage:
    """
    The leader's Accept has reached only node 2 when the leader dies: no node knows whether it was decided. (It was: two
    of three hold it.) The next leader learns of it from the promises and has to propose it again under its own
    leadership, before anything new. The killed leader restarts later and learns what was decided since.
    """
    stage = Stage("Failover with re-proposal", failover.__doc__ or "", 3)
    stage.formed()
    stage.remark("The link 1 -> 3 fails, and what 2 says to 1 is lost")
    stage.cut((1, 3), (2, 1))
    stage.submit(1, Create("tea"))
    stage.until(lambda: stage.world.nodes[2].replica.log.last == 1)
    stage.world.run(0.008)
    stage.crash(1)
    stage.remark("Links work again")
    stage.heal()
    stage.submit(3, Create("coffee"))
    stage.until(lambda: stage.quiet and stage.world.nodes[3].replica.applied == 2)
    stage.restart(1)
    stage.until(lambda: stage.quiet and stage.leader is not None)
    return stage


def duel() -> Stage:
    """
    The leader dies, and just then the links become much slower than any node measured. It is node 2's turn; but node
    3 has not heard of that yet when its own turn comes, and campaigns as well. The higher ballot wins: who promised it
    for it reject the lower one, and the loser follows.
    """
    stage = Stage("Duelling proposers", duel.__doc__ or "", 3)
    stage.formed()
    stage.crash(1)
    stage.until(lambda: stage.world.nodes[2].replica.status().leader is None)
    stage.remark("Every message takes 90 ms from now on")
    stage.world.weather.delay = 0.09
    stage.submit(2, Create("tea"))
    stage.until(lambda: stage.quiet and stage.leader in (2, 3) and stage.world.nodes[2].replica.applied == 1)
    return stage


def catch_up_by_log() -> Stage:
    """
    Node 3 was down while two operations were decided. The others still have them in their logs: it fetches them.
    """
    stage = Stage("Catching up by log", catch_up_by_log.__doc__ or "", 3)
    stage.formed()
    stage.crash(3)
    stage.submit(1, Create("tea"))
    stage.submit(2, Query("tea", "green or black?"))
    stage.until(lambda: stage.quiet and stage.world.nodes[1].replica.applied == 2)
    stage.restart(3)
    stage.until(lambda: stage.quiet and stage.leader is not None)
    return stage


def catch_up_by_snapshot() -> Stage:
    """
    Node 3 was down while 8 operations were decided, and the others have cut their logs up to a snapshot at position 6:
    what node 3 lacks is no longer in any log. It gets the snapshot in pieces, each requested separately, and the
    rest from the log. (Here a snapshot is made every 6 operations, and 2 are kept behind it.)
    """
    limits = Limits(batch_operations=8, lag=2, keep=2, snapshot_every=6, learn_operations=16, piece_bytes=64)
    stage = Stage("Catching up by snapshot", catch_up_by_snapshot.__doc__ or "", 3, limits=limits)
    stage.formed(record=False)
    stage.crash(3)
    for number in range(1, 9):
        stage.submit(1, Create(f"talk-{number}"))
        if number == 6:
            stage.until(lambda: stage.quiet)
    stage.until(lambda: stage.quiet and stage.world.nodes[1].replica.applied == 8)
    stage.world.run(0.5)
    stage.transcript.begin(stage.world)
    stage.restart(3)
    stage.until(lambda: stage.quiet and stage.leader is not None)
    return stage


def chain() -> Stage:
    """
    Only the links 1-2, 2-3, 3-4 and 4-5 are left. Node 1, which led, reaches one other node: it can't go on. Nodes 2, 3
    and 4 each reach a majority directly; one of them takes over and stays, though not all nodes hear it. (With
    elections based only on silence, the ends of a chain would take the leadership from each other forever.) Node
    1 gets its operation decided through other nodes.
    """
    stage = Stage("Chain 1-2-3-4-5", chain.__doc__ or "", 5)
    stage.formed()
    stage.remark("Every link but 1-2, 2-3, 3-4, 4-5 fails")
    stage.only((1, 2), (2, 3), (3, 4), (4, 5))
    stage.submit(1, Create("tea"))
    stage.until(lambda: stage.quiet and stage.leader in (2, 3, 4))
    stage.submit(5, Create("coffee"))
    stage.until(lambda: stage.quiet and stage.world.nodes[5].replica.applied == 2)
    return stage


def star() -> Stage:
    """
    Only the links of node 3 are left. It alone reaches a majority, so it has to lead, though the previous leader is
    alive and heard by node 3. The others reach only node 3; that is enough.
    """
    stage = Stage("Star around 3", star.__doc__ or "", 5)
    stage.formed()
    stage.remark("Every link but those of node 3 fails")
    stage.only((3, 1), (3, 2), (3, 4), (3, 5))
    stage.submit(1, Create("tea"))
    stage.until(lambda: stage.quiet and stage.leader == 3)
    return stage


def one_way_cut() -> Stage:
    """
    The leader can still send to all nodes, but hears none. Its heartbeats keep arriving, so there is no silence; but
    they say which nodes it hears, and a leader that hears no majority is replaced. When the links work, it hears of
    its successor and catches up.
    """
    stage = Stage("One-way cut of the leader", one_way_cut.__doc__ or "", 5)
    stage.formed()
    stage.remark("Nothing that is sent to node 1 arrives any more")
    stage.cut(*((other, 1) for other in (2, 3, 4, 5)))
    stage.submit(4, Create("tea"))
    others = [stage.world.nodes[pid] for pid in (2, 3, 4, 5)]
    stage.until(lambda: all(node.replica.applied == 1 and node.replica.status().leader == 2 for node in others))
    stage.remark("All links work again")
    stage.heal()
    stage.until(lambda: stage.quiet and stage.leader is not None)
    return stage


def wiped_node() -> Stage:
    """
    Node 3 restarts with an empty disk: its promises are forgotten, so it must not vote. It finds out when it hears that
    others have stored another identity for its number. It follows as a learner: it catches up, and answers no Prepare
    and no Accept, until the others have decided a configuration with the identity of its new disk.
    """
    stage = Stage("A wiped node votes again once its new disk is decided", wiped_node.__doc__ or "", 3)
    stage.formed()
    stage.submit(1, Create("tea"))
    stage.until(lambda: stage.quiet and stage.world.nodes[3].replica.applied == 1)
    stage.crash(3)
    stage.remark("Its disk is lost")
    stage.world.nodes[3].wipe()
    stage.restart(3)
    stage.until(lambda: stage.world.nodes[3].replica.status().voter_status is VoterStatus.LEARNER)
    stage.until(lambda: stage.world.nodes[3].replica.status().voter_status is VoterStatus.VOTER)
    stage.submit(3, Create("coffee"))
    stage.until(lambda: stage.quiet and stage.world.nodes[3].replica.applied == 3)
    return stage


SCENES = [
    election, steady_state, failover, duel, catch_up_by_log, catch_up_by_snapshot, chain, star, one_way_cut, wiped_node,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_transcript(scene: Callable[[], Stage]) -> None:
    path = TRANSCRIPTS / f"{scene.__name__}.txt"
    text = scene().transcript.text
    if os.environ.get("REWRITE_TRANSCRIPTS"):
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), f"{path.name} tells another story"


def test_no_transcript_without_a_scene() -> None:
    assert {path.stem for path in TRANSCRIPTS.glob("*.txt")} == {scene.__name__ for scene in SCENES}
