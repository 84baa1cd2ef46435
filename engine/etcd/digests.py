"""Do the nodes have the same conversations? Each puts the digest that it has at a position; whoever was there, too,
compares. As with the embedded engine, a node whose digest differs from that of a majority of the members stops; where
no majority agrees, all say so; and nodes that understand other operations are not compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys
from engine.etcd.machine import Diverged, Machine
from engine.etcd.wire import KeyValue, put, txn
from engine.state_digests import StateDigests
from kvstore.operations import OPERATIONS_VERSION

KEPT: Final = 256
"""Of each node: how far nodes may be apart and still be compared."""
LOOK_S: Final = 0.5
WORK = "digest"


class Digests:
    """Of node `number`. `versions` gives which operations each member understands; `told` gets what users are to know
    of a difference."""

    def __init__(
        self, client: EtcdClient, keys: Keys, number: int, machine: Machine, every: int,
        versions: Callable[[], Mapping[int, int]], told: Callable[[str], None],
    ) -> None:
        self.differing: frozenset[int] = frozenset()
        """Nodes that were last seen to have other conversations."""
        self._client = client
        self._keys = keys
        self._number = number
        self._machine = machine
        self._versions = versions
        self._told = told
        self._states = StateDigests(machine.store, self._taken, every, 0)
        self._seen: dict[int, dict[int, int]] = {number: {}}
        """By node: digests by position, in the order in which they came."""

    def before(self, position: int) -> None:
        """The operation at this position is applied next."""
        self._states.before(position)

    def installed(self) -> None:
        self._states.loaded(self._machine.position)

    async def run(self) -> None:
        """Tells the latest."""
        loop, put_at = asyncio.get_running_loop(), 0
        while True:
            await asyncio.sleep(LOOK_S)
            self._states.look(self._machine.position, loop.time())
            own = self._seen[self._number]
            position = next(reversed(own), 0)
            if position > put_at:
                put_at = position
                value = b"%d.%d" % (position, own[position])
                await self._client.txn(WORK, txn([], [put(self._keys.digest(self._number), value)]))

    def on_key(self, kv: KeyValue) -> None:
        """Raises Diverged."""
        pid = self._keys.digest_pid(kv.key)
        if pid is None or pid == self._number or self._versions().get(pid) != OPERATIONS_VERSION:
            return
        try:
            position, digest = map(int, kv.value.split(b"."))
        except ValueError:
            return  # no node has put it
        self._remember(pid, position, digest)

    def _taken(self, position: int, digest: int) -> None:
        self._remember(self._number, position, digest)

    def _remember(self, pid: int, position: int, digest: int) -> None:
        seen = self._seen.setdefault(pid, {})
        seen[position] = digest
        if len(seen) > KEPT:
            del seen[next(iter(seen))]
        self._compare(position)

    def _compare(self, position: int) -> None:
        at = {pid: seen[position] for pid, seen in self._seen.items() if position in seen}
        own = at.get(self._number)
        if own is None:
            return
        others: dict[int, set[int]] = {}
        for pid, digest in at.items():
            others.setdefault(digest, set()).add(pid)
        agreeing = others.pop(own)
        differing = frozenset().union(*others.values())
        news = differing - self.differing
        self.differing = (self.differing - agreeing) | differing
        for nodes in others.values():
            if self._is_majority(nodes):
                raise Diverged(_stops(position, nodes))
        if news:
            self._told(_differ(position, differing, self._is_majority(agreeing)))

    def _is_majority(self, nodes: set[int]) -> bool:
        members = self._versions().keys()
        return 2 * len(members & nodes) > len(members)


def _listed(nodes: set[int] | frozenset[int]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, sorted(nodes)))}"


def _stops(position: int, nodes: set[int]) -> str:
    return (
        f"after operation {position} this node's conversations are not those of {_listed(nodes)}, which agree and are "
        "a majority, although all have applied the same operations. It stops; started anew, it has what etcd has"
    )


def _differ(position: int, nodes: frozenset[int], majority: bool) -> str:
    said = (
        f"after operation {position} the conversations of {_listed(nodes)} are not those of this node, although all "
        "have applied the same operations. "
    )
    if majority:
        return said + "This node agrees with a majority; whoever does not is wrong, and stops"
    return said + "No majority agrees, so that it is not known who is wrong: start the nodes that are down"
