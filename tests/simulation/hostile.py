"""Frames that no honest node sends, in the name of a member: every kind of message, with numbers at their extremes.

The class of frames. Each integer and each time of a message is drawn from EXTREMES, or is one that really occurs in
the cluster (a node, a position, an identity, an incarnation, the leader's ballot); lists, tables and bytes are short,
empty, or nested too deep; some frames are of other clusters. Frames may be sent in any number and order, to any nodes,
by a member that does nothing else.

What is left out is a lie that consensus among nodes that fail by stopping cannot survive, however ordinary its numbers
are: to vouch for what is not so. So no vote (Promise, Accepted, Confirmed) is for a leadership that an honest node
claims, no operation is sent as accepted or decided for a position that is open, no snapshot is made up of what is
not decided yet (whoever asked for one has nothing to compare it with), nothing is called decided under a leadership
that the member really had, no read is sent to a position that is too low, no write is remembered that a disk may have
had and has not, nothing is said of another node's digest, and nobody asks for a change of the members. Of its own
digest a member may say anything: it is one against many.

What is claimed has its limits. As long as a member is heard, it can keep the others from deciding (it claims to lead,
or to know a later configuration): they decide again once it is silent. Of a node that is not heard directly, or was
not until lately, it can pass on what that node never said, for nobody can tell. And the cluster is founded: before
that, what members say of each other's disks decides who votes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any, Final, get_args

import msgspec

from engine.network import decode
from kvstore.operations import Create
from kvstore.payloads import encode
from paxos.ballot import Ballot, ballot
from paxos.bounds import MOST_COUNT, MOST_PID, MOST_POSITION
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Confirmed,
    Learn,
    NodeState,
    Promise,
    ReadReply,
    Reconfigure,
    Routable,
    Routed,
    SnapshotPiece,
    Vouched,
)
from tests.simulation.world import Node, World

EXTREMES: Final = (
    0, -1, 2**31 - 1, 2**31, 2**32, 2**40, 2**53, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1,
)
TIMES: Final = (0.0, -1.0, 1e-300, 1e9, 1e15, 1e300, -1e300, float("inf"), float("-inf"), float("nan"))
KINDS: Final = get_args(AnyMessage)
FIELDS: Final = {
    kind: [(field.name, msgspec.inspect.type_info(field.type)) for field in msgspec.structs.fields(kind)]
    for kind in KINDS
}
NO_DIGEST: Final = (0, 0)
IMPOSSIBLE: Final = 2**53
"""No clock shows as many microseconds: see paxos/ceilings.py."""
VOTES: Final = (Promise, Accepted, Confirmed)
MOST_DIGEST: Final = 2**64 - 1
MOST_TOGETHER: Final = 6
"""Operations in one frame."""
UNKNOWN: Final = b"\x91\x63"
"""An operation of a later release."""
_DEEP: Final = b"\x91" * 2_000 + b"\xc0"


@cache
def _up_to(most: int) -> list[int]:
    return [number for number in (*EXTREMES, most) if 0 <= number <= most]


TOGETHER: Final = 4
EVERY_S: Final = 0.01
"""So many frames arrive each time."""
PREFIX: Final = "hostile"
"""Of the conversations that are created in the hostile node's name."""


class Forger:
    """Makes frames in the name of node `pid`."""

    def __init__(self, world: World, pid: int) -> None:
        self._world = world
        self._random = Random(f"hostile {world.seed} {pid}")
        self._pid = pid
        self._within = True
        """Every number of this frame is within the bounds of paxos/bounds.py: others get no further than there."""
        self.refused = 0
        """Frames that no link would hand on."""

    def frames(self) -> Iterator[tuple[AnyMessage, int]]:
        """Messages as links hand them on, and the id of the cluster that comes with them, without end."""
        while True:
            frame = self.frame()
            try:
                cluster, message = decode(frame)
            except ValueError:
                self.refused += 1
            else:
                yield message, cluster

    def frame(self) -> bytes:
        """The bytes of one."""
        random = self._random
        self._within = random.random() < 0.8
        content = self._message(random.choice(KINDS))
        if not self._within and random.random() < 0.1:
            content = content[:-1] + _DEEP
        drawn = random.random()
        if drawn >= 0.95:
            return content
        cluster = self._world.configurations[-1].cluster if drawn < 0.9 else random.getrandbits(63)
        return b"\x92\xcf" + cluster.to_bytes(8, "big") + content

    # ---- Messages, as bytes: msgspec itself would not put some of these numbers into others' places

    def _message(self, kind: type[Any]) -> bytes:
        values = [self._field(kind, name, of) for name, of in FIELDS[kind]]
        parts = [msgspec.msgpack.encode(kind.__struct_config__.tag), *values]
        return bytes((0x90 + len(parts),)) + b"".join(parts)

    def _field(self, kind: type[Any], name: str, of: msgspec.inspect.Type) -> bytes:
        if kind is Routed and name == "message":
            return self._message(self._random.choice([each for each in get_args(Routable) if each is not Reconfigure]))
        return msgspec.msgpack.encode(self._value(kind, name, of))

    def _value(self, kind: type[Any], name: str, of: msgspec.inspect.Type) -> Any:
        if name == "ballot" and kind in VOTES:
            return [self._extreme(MOST_COUNT), self._node(), self._extreme(MOST_POSITION)]
        if name == "ballot":
            return self._ballot(kind)
        if kind is Learn and name == "start":
            return self._closed()
        if kind is SnapshotPiece and name == "position":
            return self._random.choice((0, self._begun()))
        if kind is ReadReply and name == "position":
            return self._random.choice([number for number in _up_to(MOST_POSITION) if number])
        if kind is Reconfigure and name == "number":
            return self._extreme(MOST_COUNT)
        return self._any(of)

    def _ballot(self, kind: type[Any]) -> Any:
        """One's own, or anybody's, or the one that counts; an Accept is for no open position."""
        random, leader = self._random, max(self._up(), key=lambda node: node.replica.acceptor.promised.leadership)
        claim = ballot(leader.replica.acceptor.promised.leadership, leader.replica.log.decided_upto)
        owner = random.choice((self._pid, self._pid, self._node()))
        seq_num = random.choice((self._extreme(MOST_COUNT), claim.seq_num, claim.seq_num + 1))
        if owner == self._pid and seq_num == claim.seq_num:
            seq_num += 1  # under one that it really had, others may hold what it had not decided
        op_num = self._closed() if kind is Accept else random.choice((self._extreme(MOST_POSITION), claim.op_num))
        return [seq_num, owner, op_num]

    def _closed(self) -> int:
        """A position such that neither it nor one soon after it is open anywhere."""
        begun = self._begun()
        return self._random.choice([number for number in _up_to(MOST_POSITION) if number or begun > MOST_TOGETHER])

    def _begun(self) -> int:
        """All know up to here what is decided."""
        return min(node.replica.log.decided_upto for node in self._up())

    def _any(self, kind: msgspec.inspect.Type) -> Any:
        random = self._random
        match kind:
            case msgspec.inspect.IntType(le=most):
                return self._number(MOST_DIGEST if most is None else most)
            case msgspec.inspect.FloatType():
                return random.choice(TIMES[:5] if self._within else TIMES)
            case msgspec.inspect.BoolType():
                return random.random() < 0.5
            case msgspec.inspect.BytesType():
                return random.choice((b"", b"x", UNKNOWN, _DEEP, encode(Create(f"{PREFIX}{random.randrange(10**6)}"))))
            case msgspec.inspect.TupleType(item_types=items):
                return [self._any(item) for item in items]
            case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
                return [self._any(item) for _ in range(random.choice((0, 1, 2, MOST_TOGETHER)))]
            case msgspec.inspect.DictType(key_type=key, value_type=value):
                return {self._any(key): self._any(value) for _ in range(random.choice((0, 1, 3)))}
            case msgspec.inspect.UnionType(types=kinds):
                return self._any(random.choice(kinds))
            case msgspec.inspect.StructType(cls=cls) if cls is Vouched:
                return [self._number(MOST_COUNT), [self._impossible_incarnation(), self._extreme(MOST_COUNT)]]
            case msgspec.inspect.StructType(cls=cls, fields=fields) if cls is NodeState:
                row = {field.name: self._any(field.type) for field in fields}
                return [*(row if row["pid"] == self._pid else row | {"digest": NO_DIGEST}).values()]
            case msgspec.inspect.StructType(cls=cls, fields=fields):
                return [self._any(field.type) for field in fields] if cls is not Ballot else self._ballot(Accept)
        return None

    # ---- Numbers

    def _extreme(self, most: int) -> int:
        return self._random.choice(_up_to(most) if self._within else EXTREMES)

    def _impossible_incarnation(self) -> int:
        """One that no disk may have had, whatever the clocks show."""
        numbers = _up_to(MOST_COUNT) if self._within else EXTREMES
        return self._random.choice([number for number in numbers if number < 0 or number >= IMPOSSIBLE])

    def _node(self) -> int:
        return self._random.choice((*self._world.pids, self._extreme(MOST_PID)))

    def _number(self, most: int) -> int:
        """In half of the cases one that occurs."""
        random = self._random
        if random.random() < 0.5:
            return self._extreme(most)
        node = random.choice(self._up())
        log, configuration = node.replica.log, self._world.configurations[-1]
        occurs = (
            self._pid, node.pid, log.decided_upto, log.compacted, node.replica.incarnation, node.replica.applied,
            configuration.cluster, configuration.members.get(node.pid, 0), configuration.number,
        )
        return random.choice([number for number in occurs if not self._within or number <= most])

    def _up(self) -> list[Node]:
        return targets(self._world, self._pid)


def targets(world: World, pid: int) -> list[Node]:
    """The nodes that get what comes in the name of `pid`."""
    return [node for node in world.nodes.values() if node.up and not node.foreign and node.pid != pid]


def forge(world: World, pid: int, lasts: Callable[[], bool]) -> None:
    """Frames in the name of `pid`, to anybody, as long as it `lasts`."""
    frames = Forger(world, pid).frames()
    world.hostile.add(pid)

    def come() -> None:
        for _ in range(TOGETHER):
            if targets(world, pid):
                message, cluster = next(frames)
                world.random.choice(targets(world, pid)).receive(pid, message, cluster)
        if lasts():
            world.at(EVERY_S, come)

    world.at(EVERY_S, come)
