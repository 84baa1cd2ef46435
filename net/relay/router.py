"""From connection to connection: every frame between two nodes passes through here, and meets its faults here.

It routes by the frame's header and never inspects the payload. Dropping is legal, so no queue is unbounded
and no node ever waits for another: a node that does not read only loses its own messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from net.frames import HINT, LABELLED, Frame, is_urgent, take_label_off
from net.relay.connection import Connection, Traffic
from net.relay.counts import Cause, Counts
from net.relay.delay_line import DelayLine
from net.relay.faults import Faults
from net.relay.holding import HeldMessage, Holding
from net.relay.tap import Fate, Tap


class Router:
    """`members` is the routing table; whoever lets nodes in keeps it. `unknown` learns of frames between a node and a
    number that no node has, `noted` of messages that begin to wait for the operator, and `labels` when nodes must begin
    to label messages, or may stop."""

    def __init__(
        self, nodes: Iterable[int], faults: Faults, unknown: Callable[[int, int], None],
        noted: Callable[[HeldMessage], None], labels: Callable[[], None],
    ) -> None:
        self.members: dict[int, Connection] = {}
        self.traffic = {node: Traffic() for node in nodes}
        self.delayed = DelayLine(self._arrive)
        self.holding = Holding(self._release, self._begin_to_wait, self._dropped, labels)
        self.tap = Tap(labels)
        self.counts = Counts()
        self._faults = faults
        self._unknown = unknown
        self._noted = noted
        self._unflushed: list[Connection] = []

    def traffic_of(self, node: int) -> Traffic:
        """Its counters since the relay's start."""
        return self.traffic.setdefault(node, Traffic())

    @property
    def wants_labels(self) -> bool:
        return self.holding.active or self.tap.wants_labels

    def route(self, source: Connection, frame: Frame) -> None:
        raw = frame.raw
        traffic = source.traffic
        traffic.frames_in += 1
        traffic.bytes_in += len(raw)
        if frame.kind == HINT and not self._knows_hints(frame.dst):
            return
        label = ""
        if frame.kind == LABELLED:
            label, raw = take_label_off(raw)
            if self.holding.active and not self._faults.is_cut(source.node, frame.dst):
                if not self.holding.hold(source.node, frame.dst, label, raw):
                    self._drop(source.node, frame.dst, "too_many_held")
                return
        self._pass_on(source.node, frame.dst, raw, label)

    def _pass_on(self, src: int, dst: int, raw: bytes, label: str = "", fate: Fate = "passed") -> None:
        """The frame meets the link's faults. One with a label is shown to those who watch."""
        if self._faults.quiet:
            if label:
                self.tap.saw(src, dst, label, fate)
            self._deliver(src, dst, raw)
            return
        now = asyncio.get_running_loop().time()
        copies = self._faults.decide(src, dst, len(raw), now, is_urgent(raw))
        if label:
            late = max(copies, default=0.0)
            self.tap.saw(src, dst, label, "lost" if not copies else "late" if late > 0 else fate, late)
        if not copies:
            self._drop(src, dst, None)
        for late in copies:
            if late <= 0:
                self._deliver(src, dst, raw)
            elif not self.delayed.add(late, src, dst, raw):
                self._drop(src, dst, "delay_line_full")

    def _begin_to_wait(self, message: HeldMessage) -> None:
        self.tap.saw(message.src, message.dst, message.label, "held")
        self._noted(message)

    def _release(self, message: HeldMessage) -> None:
        self._pass_on(message.src, message.dst, message.raw, message.label, "released")

    def _dropped(self, message: HeldMessage) -> None:
        self.counts.lost["operator"] += 1
        self.tap.saw(message.src, message.dst, message.label, "dropped")

    def _knows_hints(self, node: int) -> bool:
        """A node of release 0.1.0 would hang up."""
        member = self.members.get(node)
        return member is not None and member.hello is not None and member.hello.hints

    def flush_later(self, connection: Connection) -> None:
        if not self._unflushed:
            # Runs in the next turn, after every socket that is readable in this one: one write for all frames.
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        try:
            while unflushed:
                unflushed.pop().flush()
        finally:
            if unflushed:  # one raised; it must not take the others' turn with it
                self._unflushed += unflushed
                asyncio.get_running_loop().call_soon(self._flush)

    def _deliver(self, src: int, dst: int, raw: bytes) -> None:
        member = self.members.get(dst)
        if member is None or not member.push(raw):
            self._drop(src, dst, "disconnected" if member is None else "receiver_stalled")
            return
        self.counts.passed(raw)
        traffic = member.traffic
        traffic.frames_out += 1
        traffic.bytes_out += len(raw)

    def _arrive(self, src: int, dst: int, raw: bytes) -> None:
        """Delivers a delayed frame. A link that was cut meanwhile drops it."""
        if self._faults.is_cut(src, dst):
            self._drop(src, dst, "cut")
        else:
            self._deliver(src, dst, raw)

    def _drop(self, src: int, dst: int, cause: Cause | None) -> None:
        """`cause`: None if a fault lost it."""
        if cause is not None:
            self.counts.lost[cause] += 1
        traffic = self.traffic.get(dst)
        if traffic is None:
            self._unknown(src, dst)
        else:
            traffic.dropped += 1
