"""Equal positions, equal digests: what one node concludes from what the others tell."""

from __future__ import annotations

from paxos.ballot import NOBODY
from paxos.connectivity import Connectivity
from paxos.digests import KEPT, Digests
from paxos.effects import Effects
from paxos.limits import Timing
from paxos.messages import Configuration, Heartbeat, NodeState
from paxos.output import Divergence, Durable, VoterStatus
from paxos.voter_registry import VoterRegistry

CLUSTER, VERSION = 7, 2


class Rig:
    """Node 1 of five; the disk of node N has the identity 100 + N."""

    def __init__(self) -> None:
        self.effects = Effects(1)
        net = Connectivity(1, range(1, 6), Timing())
        members = {pid: 100 + pid for pid in range(1, 6)}
        durable = Durable(101, 1, VoterStatus.VOTER, configuration=Configuration(1, CLUSTER, members))
        self.digests = Digests(net, VoterRegistry(1, members, durable, self.effects), VERSION, self.effects)

    def hear(
        self, node: int, position: int, digest: int, identity: int | None = None, cluster: int = CLUSTER,
        version: int = VERSION,
    ) -> bool:
        state = NodeState(
            node, (1, 1), 100 + node if identity is None else identity, (), NOBODY, False, NOBODY, 0, True, False,
            operations_version=version, cluster=cluster, digest=(position, digest),
        )
        return self.digests.heard(node, Heartbeat([state], {}, 0.0, {}))

    def told(self) -> list[Divergence]:
        return self.effects.take().diverged


def test_equal_digests_and_other_positions_say_nothing() -> None:
    rig = Rig()
    assert not rig.digests.taken(10, 1) and rig.digests.latest == (10, 1)
    assert not rig.hear(2, 10, 1) and not rig.hear(3, 20, 2)
    assert rig.told() == [] and rig.digests.differing == frozenset()


def test_against_a_majority_a_node_is_wrong() -> None:
    rig = Rig()
    for node in (2, 3):
        assert not rig.hear(node, 10, 5)
    assert not rig.digests.taken(10, 1)
    assert rig.told() == [Divergence(10, (2, 3), minority=False)], "two of five are none"
    assert rig.hear(4, 10, 5)
    assert rig.told() == [Divergence(10, (2, 3, 4), minority=True)]


def test_with_a_majority_it_is_right_and_says_so_once() -> None:
    rig = Rig()
    rig.digests.taken(10, 1)
    rig.hear(2, 10, 1)
    rig.hear(3, 10, 1)
    assert not rig.hear(4, 10, 5)
    assert rig.told() == [Divergence(10, (4,), minority=False, majority=True)]
    rig.digests.taken(20, 2)
    rig.hear(2, 20, 2)
    rig.hear(3, 20, 2)
    assert not rig.hear(4, 20, 6) and rig.told() == []
    rig.digests.taken(30, 3)
    rig.hear(4, 30, 3)
    assert rig.digests.differing == frozenset(), "it agrees again"


def test_votes_that_do_not_count() -> None:
    """Of disks that the configuration does not name, of another cluster, of nodes that understand other operations."""
    rig = Rig()
    rig.digests.taken(10, 1)
    rig.hear(2, 10, 5)
    rig.hear(3, 10, 5)
    assert not rig.hear(4, 10, 5, identity=9)
    assert not rig.hear(5, 10, 5, cluster=8)
    assert not rig.hear(5, 10, 5, version=VERSION + 1)
    assert not rig.hear(77, 10, 5)
    assert rig.digests.differing == {2, 3, 4}
    rig.hear(4, 10, 1)
    assert rig.digests.differing == {2, 3}, "a new disk, and what the old one said is forgotten"


def test_odd_numbers_do_no_harm_and_memory_is_bounded() -> None:
    rig = Rig()
    rig.digests.taken(10, 1)
    for position in (-1, 0, 2**63, 2**64 - 1):
        assert not rig.hear(2, position, -(2**63))
    for position in range(20, 20 + 2 * KEPT):
        rig.digests.taken(position, 1)
        rig.hear(2, position, 1)
    assert all(len(told) == KEPT for node, told in rig.digests._told.items() if node in (1, 2))
