"""No node vouches for what is not on disk, and what is on disk is never revoked.

A Promise vouches for a promise and shows all that it must show; an Accepted vouches for entries; a Prepare for the
promise not to claim that leadership again; a Heartbeat for the identities that it shows, unless they are decided.
"""

from __future__ import annotations

from paxos.ballot import NOBODY, Leadership
from paxos.messages import Accepted, AnyMessage, Heartbeat, Prepare, Promise
from paxos.output import Durable, Persist
from storage.records import Compaction
from tests.simulation.world import Node, Observer, Violation, World


class NotDurable(Violation):
    pass


class Durability(Observer):
    def __init__(self) -> None:
        self._promised: dict[int, Leadership] = {}
        """By disk: the highest promise that it ever held."""
        self._said: dict[int, Leadership] = {}
        """By disk: the highest promise that it ever vouched for."""
        self._alive: dict[int, Leadership] = {}
        """By node: the promise in its memory."""
        self._spoken: dict[int, Leadership] = {}
        """By node: the highest leadership that it vouched for since it started."""
        self._rosters: dict[int, dict[int, int]] = {}
        """By node: the identities that it last sent."""
        self._vouched: dict[int, dict[int, Leadership]] = {}
        """By disk and position: the highest leadership of which an acceptance was vouched for."""

    def started(self, world: World, node: Node, durable: Durable) -> None:
        self._alive[node.pid] = durable.promised.leadership
        self._spoken[node.pid] = NOBODY
        if durable.identity == node.outdated:
            self._promised[durable.identity] = durable.promised.leadership
            self._vouched.pop(durable.identity, None)  # That it never votes again is checked in voters.py.
        due = (self._said if durable.identity == node.put_back else self._promised).get(durable.identity, NOBODY)
        if durable.promised.leadership < due and durable.identity != node.outdated:
            raise NotDurable(f"{node.pid} has forgotten its promise {due}")
        self._promised[durable.identity] = durable.promised.leadership
        held = {entry.position: entry.leadership for entry in durable.entries}
        for position, leadership in self._vouched.get(durable.identity, {}).items():
            if position > durable.decided and held.get(position, NOBODY) < leadership:
                raise NotDurable(f"{node.pid} has forgotten what it accepted at {position} under {leadership}")

    def stored(self, world: World, node: Node, item: Persist | Compaction) -> None:
        if isinstance(item, Compaction):
            return
        image = node.disk.image
        before = self._promised.get(image.identity, NOBODY)
        if item.promised is not None and item.promised.leadership < before:
            raise NotDurable(f"{node.pid} stored the promise {item.promised} after {before}")
        for entry in item.entries:
            if NOBODY < entry.leadership < before:
                raise NotDurable(f"{node.pid} accepted {entry} after it had promised {before}")
            if entry.leadership > image.promised.leadership:
                raise NotDurable(f"{node.pid} accepted {entry}, having promised no more than {image.promised}")
        self._promised[image.identity] = image.promised.leadership

    def stepped(self, world: World, node: Node) -> None:
        promised = node.replica.acceptor.promised.leadership
        if promised < self._alive[node.pid]:
            raise NotDurable(f"{node.pid} fell back from promise {self._alive[node.pid]} to {promised}")
        self._alive[node.pid] = promised

    def sent(self, world: World, node: Node, to: int, message: AnyMessage) -> None:
        if isinstance(message, Accepted):
            self._speak(node, message)
            self._accepted(node, message)
        elif isinstance(message, Promise):
            self._speak(node, message)
            self._promise(node, message)
        elif isinstance(message, Heartbeat):
            if message.roster is not self._rosters.get(node.pid):
                self._rosters[node.pid] = message.roster
                decided = any(message.roster.items() <= each.members.items() for each in world.configurations)
                if not decided and not message.roster.items() <= node.disk.image.roster.items():
                    raise NotDurable(f"{node.pid} tells of {message.roster}, and has {node.disk.image.roster} on disk")
        elif isinstance(message, Prepare) and node.disk.image.promised.leadership < message.ballot.leadership:
            raise NotDurable(f"{node.pid} sends {message}, and has only {node.disk.image.promised} on disk")

    def _speak(self, node: Node, message: Accepted | Promise) -> None:
        """A node sends what it vouches for in the order of its decisions."""
        if message.ballot.leadership < self._spoken[node.pid]:
            raise NotDurable(f"{node.pid} sends {message}, having said yes to {self._spoken[node.pid]}")
        self._spoken[node.pid] = message.ballot.leadership
        identity = node.disk.image.identity
        self._said[identity] = max(self._said.get(identity, NOBODY), message.ballot.leadership)

    def _accepted(self, node: Node, message: Accepted) -> None:
        leadership, first = message.ballot.leadership, message.ballot.op_num
        image, entries = node.disk.image, node.disk.entries
        if image.promised.leadership < leadership:
            raise NotDurable(f"{node.pid} sends {message}, and has only the promise {image.promised} on disk")
        vouched = self._vouched.setdefault(image.identity, {})
        for position in range(first, first + message.count):
            entry = entries.get(position)
            known = position <= node.replica.log.decided_upto
            if position > max(image.compacted, image.snapshot_position) and (
                entry is None or (entry.leadership < leadership and not known)
            ):
                raise NotDurable(f"{node.pid} sends {message}, and has {entry} on disk at {position}")
            if not known:
                vouched[position] = max(leadership, vouched.get(position, NOBODY))

    def _promise(self, node: Node, message: Promise) -> None:
        """The disk may be ahead of a message that waited for it: what was accepted or learned since is no matter."""
        leadership = message.ballot.leadership
        image, entries = node.disk.image, node.disk.entries
        if image.promised.leadership < leadership:
            raise NotDurable(f"{node.pid} sends {message}, and has only {image.promised} on disk")
        shown = {entry.position: entry for entry in message.entries}
        for entry in message.entries:
            held = entries.get(entry.position)
            if entry.position > image.compacted and (
                held is None or (held != entry and NOBODY < held.leadership < leadership)
            ):
                raise NotDurable(f"{node.pid} shows {entry} in a promise, and has {held} on disk")
        for position, held in entries.items():
            if position < message.ballot.op_num or position in shown:
                continue
            if position <= message.decided_upto or NOBODY < held.leadership < leadership:
                raise NotDurable(f"{node.pid} leaves {held} out of {message}")
