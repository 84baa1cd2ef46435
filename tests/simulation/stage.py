"""A cluster for stories: its messages are in our hands.

A story loses, holds back and hands over messages, waits until it has come to where it wants to be (`until`), and says
what must happen then (`expect`, `shows`). All checkers look on, and `end` wants to see all nodes level again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from kvstore.operations import Create, Query
from kvstore.payloads import encode
from kvstore.store import Outcome
from paxos.messages import AnyMessage, Change, Routed
from paxos.output import Applied
from tests.simulation.checkers import all_checkers
from tests.simulation.world import SIM_LIMITS, SIM_TIMING, Node, Violation, World

SEED = 1
"""The seed for random choices of scenes: delays and election timeouts. Any other should do as well."""
SETTLES_S = 20.0
"""Virtual seconds in which a cluster without faults must be level again: silences of up to 10 election times may have
to be waited for."""


class OffStage(Exception):
    """A scene did not reach its intended state: it says nothing about the core or a mutant."""


class Overdue(Violation):
    """Something that had to happen did not."""


class Stale(Violation):
    """A read showed a state from before what was acknowledged."""


class Upset(Violation):
    """A leader was replaced although it could have continued."""


class Misled(Violation):
    """A user got the outcome of another user's operation."""


class Sent(NamedTuple):
    sender: int
    to: int
    message: AnyMessage


Rule = Callable[[Sent], bool]


def rule(
    *kinds: type[Any], of: Node | None = None, to: Node | Iterable[Node] | None = None,
    where: Callable[[Any], bool] = lambda message: True,
) -> Rule:
    """Fits messages of these kinds (any, if none is named), also those that are passed on by others."""
    receivers = None if to is None else {to.pid} if isinstance(to, Node) else {node.pid for node in to}

    def fits(sent: Sent) -> bool:
        message = sent.message.message if isinstance(sent.message, Routed) else sent.message
        return (
            (of is None or sent.sender == of.pid) and (receivers is None or sent.to in receivers)
            and (not kinds or isinstance(message, kinds)) and where(message)
        )

    return fits


class Stage(World):
    """`size` nodes, one of which already leads."""

    founded = True
    members: int | None = None
    """The first so many vote; all, if None."""
    times = SIM_TIMING
    old = False
    """All run release 0.1.0 at first."""

    def __init__(self, nodes: int, **limits: int | float) -> None:
        super().__init__(SEED, range(1, nodes + 1), timing=self.times,
                         limits=msgspec.structs.replace(SIM_LIMITS, **limits),
                         observers=all_checkers(), founded=self.founded, members=self.members)
        self.held: list[Sent] = []
        self.told: set[str] = set()
        """Conversations of which anything was acknowledged."""
        self._lost: list[Rule] = []
        self._holding: list[Rule] = []
        for node in self.nodes.values():
            node.old = self.old
        self.start()
        if self.founded:
            self.until(lambda: self.leads)
            self.run(1.0)

    # ---- Who

    @property
    def leader(self) -> Node:
        """The leader; of several that claim it, the one with the highest leadership."""
        leaders = [node for node in self.nodes.values() if node.up and node.replica.leader is not None]
        if not leaders:
            raise OffStage("nobody leads")
        return max(leaders, key=lambda node: node.replica.acceptor.promised.leadership)

    @property
    def leads(self) -> set[int]:
        """All nodes that believe that they lead."""
        return {node.pid for node in self.nodes.values() if node.up and node.replica.leader is not None}

    def others(self, *nodes: Node) -> list[Node]:
        return [node for node in self.nodes.values() if node not in nodes]

    # ---- Messages

    def carry(self, sender: Node, to: int, message: AnyMessage) -> None:
        sent = Sent(sender.pid, to, message)
        if any(fits(sent) for fits in self._holding):
            self.held.append(sent)
        elif not any(fits(sent) for fits in self._lost):
            super().carry(sender, to, message)
            return
        for told in self.hooks["sent"]:
            told(self, sender, to, message)

    def lose(self, *kinds: type[Any], **which: Any) -> None:
        """From now on such messages (see `rule`) are lost."""
        self._lost.append(rule(*kinds, **which))

    def hold(self, *kinds: type[Any], **which: Any) -> None:
        """From now on such messages are held back."""
        self._holding.append(rule(*kinds, **which))

    def cut(self, node: Node, *peers: Node) -> None:
        """The links between `node` and these peers (all, if none is named) carry nothing."""
        for peer in peers or self.others(node):
            self.lose(of=node, to=peer)
            self.lose(of=peer, to=node)

    def star(self, hub: Node) -> None:
        """All links are cut except those of `hub`: with five nodes, no other node can lead."""
        leaves = self.others(hub)
        for leaf in leaves:
            self.lose(of=leaf, to=[other for other in leaves if other is not leaf])

    def mend(self) -> None:
        """All messages pass again; what is held stays held."""
        self._lost, self._holding = [], []

    def release(self, *kinds: type[Any], first: int | None = None, **which: Any) -> None:
        """Hands over what is held of such messages (or the `first` so many), in the order in which they were sent."""
        fits = rule(*kinds, **which)
        chosen = [sent for sent in self.held if fits(sent)][:first]
        self.held = [sent for sent in self.held if not any(sent is one for one in chosen)]
        self.hand(chosen)

    def hand(self, messages: Iterable[Sent]) -> None:
        for sender, to, message in messages:
            self.nodes[to].receive(sender, message)

    # ---- Users

    def create(self, node: Node, context: str) -> None:
        self._submit(node, Create(context))

    def query(self, node: Node, context: str, text: str = "why?") -> None:
        self._submit(node, Query(context, text))

    def _submit(self, node: Node, command: Create | Query) -> None:
        if not self.takes(node, command):
            raise OffStage(f"{node.pid} takes no more")

    def takes(self, node: Node, command: Create | Query) -> bool:
        """A user asks for this; false if too much waits at the node."""

        def answer(applied: Applied | None, outcome: Outcome | None) -> None:
            if applied is not None and applied.operation.payload != encode(command):
                raise Misled(f"{node.pid} tells its user, who wanted {command}, the outcome of {applied}")
            self.told.add(command.context)

        return node.submit(command, answer)

    def decide(self, node: Node, *contexts: str) -> None:
        """Creates one conversation after the other, each acknowledged before the next."""
        for context in contexts:
            self.create(node, context)
            self.until(lambda context=context: context in self.told)  # type: ignore[misc]
            self.run(0.05)

    def change(self, change: Change, pid: int, asker: Node | None = None) -> None:
        """The members are changed, and somebody leads again; at the leader, if no node is named."""
        number = len(self.configurations)
        (asker or self.leader).replica.change_members(change, pid)
        self.expect("it is decided", lambda: len(self.configurations) > number)
        self.until(lambda: self.leads)

    def read(self, node: Node, *, shows: str) -> list[str]:
        """A user looks at what there is, which must contain this conversation by then. What is returned fills when the
        read is answered."""
        answered: list[str] = []

        def look() -> None:
            if shows not in node.store.conversations:
                raise Stale(f"{node.pid} does not show {shows}, which was acknowledged before")
            answered.append(shows)

        if not node.read(look):
            raise OffStage(f"{node.pid} takes no more")
        return answered

    # ---- The story

    def until(self, condition: Callable[[], Any], within: float = 5.0) -> None:
        """The scene continues when this holds. Raises OffStage if it never does."""
        if not self.run_until(lambda: bool(condition()), within):
            raise OffStage(f"still waiting after {within} s: {self._states()}")

    def expect(self, what: str, condition: Callable[[], Any], within: float = 10.0) -> None:
        """Raises Overdue if this does not come to hold."""
        if not self.run_until(lambda: bool(condition()), within):
            raise Overdue(f"not within {within} s: {what}; {self._states()}")

    def end(self) -> None:
        """All faults end: all nodes are up, caught up, follow one leader, and nothing is pending."""
        self.mend()
        for node in self.nodes.values():
            node.disarm()
            if not node.up:
                node.start()
        self.expect("all are level", self._level, SETTLES_S)
        for settled in self.hooks["settled"]:
            settled(self, list(self.nodes.values()))

    def _level(self) -> bool:
        replicas = [node.replica for node in self.nodes.values()]
        leads = self.leads
        return (
            len(leads) == 1 and all({replica.status().leader} == leads for replica in replicas)
            and len({replica.log.decided_upto for replica in replicas} | {replica.applied for replica in replicas}) == 1
            and not any(len(replica.queue) or len(replica.reads) for replica in replicas)
            and all(replica.leader is None or replica.leader.settled for replica in replicas)
        )

    def _states(self) -> str:
        return "; ".join(str(node.replica.status()) for node in self.nodes.values() if node.up)


class FirstStart(Stage):
    """So many nodes that start for the first time."""

    founded = False


class OldRelease(FirstStart):
    """So many nodes of release 0.1.0 that start for the first time."""

    old = True


class OldReleaseWithoutFirst(OldRelease):
    """Node 1 has not started yet."""

    def start(self, pids: Iterable[int] | None = None) -> None:
        super().start(pids if pids is not None else list(self.pids)[1:])


class ThreeOf(Stage):
    """So many nodes, the first three of which are the cluster's members."""

    members = 3
