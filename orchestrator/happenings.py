"""What happens in the cluster, in sentences, each told after what caused it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection

from api import operator_events as events
from api.base import Event
from api.operator_events import HappenedEvent, HappeningKind
from net.control_messages import Report
from net.relay.tap import SeenMessage

SETTLED_S = 0.9
_PREPARE = re.compile(r"Prepare <(\d+),(\d+),(\d+)>")


class Happenings:
    """`tell` gets the events."""

    def __init__(self, tell: Callable[[HappenedEvent], None], clock: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._clock = clock
        self._leadership: tuple[int, int] = (0, 0)
        """The newest that was told of."""
        self._leader: int | None = None
        self._missing_since: float | None = None
        self._campaign: tuple[int, int] = (0, 0)

    def on_fault(self, words: str, by: str) -> None:
        """The operator, or somebody else, begins to set or remove a fault; or its time is over."""
        self._add("fault", words if by == "operator" else f"{words} ({by})")

    def on_failure(self, words: str, reason: str) -> None:
        """That could not be done: the command, as it was typed, and why."""
        self._add("fault", f"{words} failed: {reason}")

    def on_event(self, event: Event) -> None:
        """The operator is told."""
        match event:
            case events.NodeUpEvent():
                self._add("node", f"node {event.node} is up", event.node)
            case events.NodeDownEvent():
                self._add("node", f"node {event.node} is down", event.node)
            case events.ClusterQuorumLostEvent():
                self._add("cluster", event.reason)
            case events.ClusterMembersEvent():
                self._add("cluster", event.text)
            case events.ConnectionRefusedEvent():
                self._add("cluster", f"refused: {event.reason}")

    def on_message(self, message: SeenMessage) -> None:
        """A campaign is told of before the leadership that comes of it."""
        found = _PREPARE.match(message.label)
        if found is None:
            return
        sequence, node, position = map(int, found.groups())
        if (sequence, node) > max(self._campaign, self._leadership):
            self._campaign = sequence, node
            self._add("campaign", f"node {node} campaigns: it asks for promises, from ballot "
                                 f"<{sequence},{node},{position}> on", node)

    def on_leader(self, leader: int | None, report: Report | None, members: Collection[int]) -> None:
        """`leader` leads now, as most nodes say, and last reported that; None if nobody is known to."""
        if leader is None or report is None:
            self._no_leader()
            return
        self._missing_since = None
        leadership = report.ballot[:2]
        if leader == self._leader and leadership == self._leadership:
            return
        new, self._leader, self._leadership = leadership > self._leadership, leader, max(leadership, self._leadership)
        what = "leads" if new else "leads again"
        ballot = ",".join(map(str, report.ballot))
        words = f"node {leader} {what}: a majority of {len(members)} follows it, next ballot <{ballot}>"
        self._add("leader", words, leader)

    def _no_leader(self) -> None:
        """Told if it lasts: while reports come in, they may contradict each other for a moment."""
        if self._missing_since is None:
            self._missing_since = self._clock()
        elif self._leader is not None and self._clock() - self._missing_since >= SETTLED_S:
            self._add("leader", f"node {self._leader} does not lead any more: no majority follows it", self._leader)
            self._leader = None

    def _add(self, kind: HappeningKind, text: str, node: int | None = None) -> None:
        self._tell(HappenedEvent(self._clock(), kind, text, node))
