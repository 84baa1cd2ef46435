"""What tests/simulation/hostile.py sends harms nobody: honest nodes stay up, agree, and decide soon after it has ended,
in the same processes and after all of them have started again; what they have stored can be lived with."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest

from kvstore.operations import Create
from kvstore.store import Outcome
from paxos.bounds import MOST_COUNT
from paxos.ceilings import USUAL_INCARNATION, USUAL_SEQ_NUM
from paxos.messages import Heartbeat
from paxos.output import Applied, Durable
from tests.simulation.checkers import all_checkers
from tests.simulation.hostile import EVERY_S, TOGETHER, Forger
from tests.simulation.world import SIM_LIMITS, Node, World

FRAMES = 800
SETTLES_S = 25.0
"""Silences of up to 10 election times may have to be waited for."""
FAR = 2**16


class Siege:
    """Five nodes, of which one is down, and frames in its name."""

    def __init__(self, seed: int) -> None:
        limits = msgspec.structs.replace(SIM_LIMITS, snapshot_every=10)
        self.world = World(seed, observers=all_checkers(), limits=limits)
        self.world.start()
        self.done: set[str] = set()
        self._count = 0
        for pid in self.world.pids:
            self.create(pid, within=10.0)
        self.hostile = self.world.nodes[self.world.random.choice(self.world.pids)]
        self.honest = [node for node in self.world.nodes.values() if node is not self.hostile]
        self.world.hostile.add(self.hostile.pid)
        self.hostile.crash()
        self.forger = Forger(self.world, self.hostile.pid)

    def submit(self, pid: int) -> str:
        self._count += 1
        name = f"c{self._count}"

        def answered(applied: Applied | None, outcome: Outcome | None) -> None:
            self.done.add(name)

        self.world.nodes[pid].submit(Create(name), answered)
        return name

    def create(self, pid: int, within: float) -> None:
        name = self.submit(pid)
        assert self.world.run_until(lambda: name in self.done, within), f"node {pid} decides nothing: {self.state()}"

    def rage(self) -> None:
        """Hostile frames and honest users, at the same time."""
        for number, (message, cluster) in enumerate(islice(self.forger.frames(), FRAMES)):
            self.world.random.choice(self.honest).process.receive(self.hostile.pid, message, cluster)
            if number % TOGETHER == 0:
                self.world.run(EVERY_S)
            if number % 50 == 0:
                self.submit(self.world.random.choice(self.honest).pid)

    def unharmed(self) -> None:
        """All honest nodes are up, vote, lead or follow, and decide."""
        for node in self.honest:
            assert node.up and not node.leaving, f"node {node.pid} has stopped"
            self.create(node.pid, SETTLES_S)
            assert node.replica.registry.votes, f"node {node.pid} does not vote"
        for node in self.honest:
            bearable(node)

    def state(self) -> str:
        return "; ".join(str(node.replica.status()) for node in self.world.nodes.values() if node.up)


def bearable(node: Node) -> None:
    """What is on the disk can be read again, and there is more room above its numbers than hostile frames took; and
    nothing grew in memory."""
    image = node.disk.image
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(image), type=Durable) == image
    assert image.promised.seq_num < USUAL_SEQ_NUM + 2**36 < MOST_COUNT
    assert max((incarnation for incarnation, _ in image.sessions.values()), default=0) < USUAL_INCARNATION + 2**40
    assert image.decided < FAR and image.snapshot_position < FAR
    replica = node.replica
    assert len(replica.log) <= SIM_LIMITS.horizon + SIM_LIMITS.keep + SIM_LIMITS.hold
    assert len(replica.catch_up._early) <= SIM_LIMITS.pieces and len(replica.catch_up._pieces) <= SIM_LIMITS.pieces
    assert set(replica.net.states) <= set(node.world.pids)
    assert replica.net.round_trip() < 31


@pytest.mark.parametrize("seed", range(1, 3))
def test_hostile_frames_harm_nobody(seed: int) -> None:
    siege = Siege(seed)
    notes: list[str] = []
    siege.world.trace = lambda now, text: notes.append(text)
    siege.rage()
    siege.world.trace = None
    assert siege.forger.refused > 50
    told = [note for note in notes if "belongs to cluster" in note]
    assert len(set(told)) == len(told) == len(siege.honest), "each is told of one of its many clusters"
    siege.unharmed()
    for node in siege.honest:
        node.crash()
    for node in siege.honest:
        node.start()
    siege.unharmed()
    siege.world.hostile.clear()
    siege.hostile.start()
    siege.create(siege.hostile.pid, SETTLES_S)
    nodes = siege.world.nodes.values()
    assert siege.world.run_until(lambda: len({node.store.digest() for node in nodes}) == 1, SETTLES_S)
    siege.world.run(1.0)
    assert all(node.replica.registry.votes for node in nodes)


def test_what_a_member_could_be_believed_is_left_out() -> None:
    """That a disk was in use later, and what another node's digest is."""
    siege = Siege(1)
    beats = [message for message, _ in islice(siege.forger.frames(), 6000) if isinstance(message, Heartbeat)]
    stamps = [vouched.stamp for beat in beats for vouched in beat.remembered.values()]
    rows = [state for beat in beats for state in beat.states]
    assert len(stamps) > 20 and all(incarnation > USUAL_INCARNATION for incarnation, _ in stamps)
    digests = {state.pid == siege.hostile.pid: state.digest for state in rows if state.digest != (0, 0)}
    assert len(rows) > 20 and set(digests) == {True}
