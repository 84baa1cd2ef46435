"""A link and a listener for tests of the engine."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.interface import AppliedOperation, EngineStatus
from net.control_messages import Report
from net.link import LinkEvents


class FakeLink:
    def __init__(self, events: LinkEvents) -> None:
        self.events = events
        self.started = self.closed = False
        self.wants_labels = False
        self.labels: list[str] = []
        self.sent: list[tuple[int, bytes]] = []
        self.hints: list[tuple[int, bytes]] = []
        self.reports: list[Report] = []
        self.reported = asyncio.Event()

    def start(self) -> None:
        self.started = True

    def send(self, dst: int, payload: bytes, urgent: bool = False, label: str = "") -> None:
        self.sent.append((dst, payload))
        self.labels.append(label)

    def send_hint(self, dst: int, payload: bytes) -> None:
        self.hints.append((dst, payload))

    def send_report(self, report: Report) -> None:
        self.reports.append(report)
        self.reported.set()

    def flush(self) -> None:
        """There is nothing it could be early for."""

    async def close(self) -> None:
        self.closed = True


class Listener:
    """Writes down what an engine tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.applied: list[AppliedOperation] = []
        self._changed = asyncio.Event()

    async def until(self, what: Any) -> None:
        """Waits until this was told: a tuple, or how many operations were applied."""
        async with asyncio.timeout(10):
            while (len(self.applied) < what) if isinstance(what, int) else (what not in self.told):
                self._changed.clear()
                await self._changed.wait()

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self._changed.set()

    def on_applied(self, applied: AppliedOperation) -> None:
        self.applied.append(applied)
        self._tell("applied", applied.ticket)

    def on_outcome_unknown(self, ticket: int) -> None:
        self._tell("unknown", ticket)

    def on_installed(self) -> None:
        self._tell("installed")

    def on_removed(self) -> None:
        self.told.append(("removed",))

    def on_stranger(self, reason: str) -> None:
        self.told.append(("stranger", reason))

    def on_diverged(self, reason: str) -> None:
        self.told.append(("diverged", reason))

    def on_status(self, status: EngineStatus) -> None:
        self._tell("status", status.role)

    def on_connected(self) -> None:
        self._tell("connected")

    def on_disconnected(self, reason: str) -> None:
        self._tell("disconnected", reason)

    def on_refused(self, reason: str) -> None:
        self._tell("refused", reason)

    def on_hint(self, node: int, payload: bytes) -> None:
        self._tell("hint", node, payload)

    def on_failed(self, reason: str) -> None:
        self._tell("failed", reason)
