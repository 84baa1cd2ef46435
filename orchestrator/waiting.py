"""`wait`: until the cluster has reached a state, according to its nodes' reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from api.conversation import SYNTHESIS
from api.errors import InvalidCommand
from api.operator_commands import WaitCommand
from api.operator_results import WaitResult
from net.control_messages import Report
from net.relay.relay import Relay
from orchestrator.errors import CommandError
from orchestrator.node_client import NodeClient, NodeUnreachable

ELECTION_S = 3.0
"""How long `leader`, as a node's number, waits for a leader: an election may be in progress."""
REPORTED_S = 1.0
"""The maximum age of a node's last report, unless nothing has changed since."""
ASK_EVERY_S = 0.3
"""The interval between two queries of the nodes."""
VIEW_S = 5.0


class Waiting:
    """What the cluster does by itself, waited for within bounds."""

    def __init__(self, relay: Relay, client: NodeClient, last_fault: Callable[[], tuple[float, str] | None]) -> None:
        """`last_fault` tells how many seconds ago it was, and what."""
        self._relay = relay
        self._last_fault = last_fault
        self._client = client
        self._last_leader: int | None = None
        """The node that `leader` last referred to; any other one is new."""

    def leader(self) -> int | None:
        """The node that reports that it leads and has a majority; of several, that of the newest leadership."""
        reports = {node: report for node in self._up() if (report := self._relay.report_of(node)) is not None}
        following = [report.leader for report in reports.values()]
        quorum = len(self._relay.members) // 2 + 1
        claims = [
            (report.ballot, node) for node, report in reports.items()
            if report.role == "leader" and following.count(node) >= quorum
        ]
        return max(claims)[1] if claims else None

    async def find_leader(self) -> int | None:
        """The leader, with a short wait; remembered, so that `wait leader new` waits for another one."""
        return await self._found(self._relay.nodes, ELECTION_S)

    async def wait(self, command: WaitCommand) -> WaitResult:
        """Raises CommandError if `condition` does not hold in time."""
        match command.what:
            case "leader":
                return await self._wait_for_leader(command)
            case "converged":
                return await self._wait_for_convergence(command.within_s)
            case "applied":
                return await self._wait_for_applied(command.within_s, command.operations)
            case "behind":
                return await self._wait_for_lag(command)
            case "answers":
                return await self._wait_for_answers(command.within_s, command.context)

    async def _wait_for_leader(self, command: WaitCommand) -> WaitResult:
        among: Sequence[int] = self._relay.nodes
        otherwise = "no node leads"
        if command.new:
            among = [node for node in self._relay.nodes if node != self._last_leader]
            otherwise = f"no node other than {self._last_leader} leads"
        elif command.among:
            among, otherwise = command.among, f"none of the nodes {','.join(map(str, command.among))} leads"
        leader = await self._found(among, command.within_s)
        if leader is None:
            raise _too_late(command.within_s, otherwise)
        fault = self._last_fault() if command.new else None
        if fault is None:
            return WaitResult(leader=leader, text=f"node {leader} leads")
        seconds, what = round(fault[0], 1), fault[1]
        return WaitResult(leader=leader, after_s=seconds, text=f"node {leader} leads, {seconds:g} s after {what}")

    async def _found(self, among: Sequence[int], within_s: float) -> int | None:
        """One of these nodes, as soon as it leads; None if none does in time."""
        found: list[int] = []

        def leads() -> bool:
            leader = self.leader()
            found.extend([leader] if leader in among and leader is not None else [])
            return bool(found)

        if not await self._relay.until(leads, within_s):
            return None
        self._last_leader = found[0]
        return found[0]

    async def _wait_for_convergence(self, within_s: float) -> WaitResult:
        def same() -> bool:
            reports = self._reports()
            return len({(each.decided, each.applied, each.digest) for each in reports if each is not None}) == 1 and (
                None not in reports
            )

        # Nodes report what has changed every half second: only after that a report that stays the same is current.
        await asyncio.sleep(min(REPORTED_S, within_s))
        await self._until(same, within_s, "not all nodes that are up have applied the same operations")
        up = self._up()
        report = self._relay.report_of(up[0]) if up else None
        applied, digest = (report.applied, report.digest) if report else (0, "")
        text = f"nodes {', '.join(map(str, up))} have applied the same {applied} operations, digest {digest[:8]}"
        return WaitResult(nodes=up, applied=applied, digest=digest, text=text)

    async def _wait_for_applied(self, within_s: float, operations: int) -> WaitResult:
        def there() -> bool:
            reports = self._reports()
            return bool(reports) and all(report is not None and report.applied >= operations for report in reports)

        await self._until(there, within_s, f"not all nodes that are up have applied {operations} operations")
        text = f"all nodes that are up have applied at least {operations} operations"
        return WaitResult(applied=operations, text=text)

    async def _wait_for_lag(self, command: WaitCommand) -> WaitResult:
        node, count = command.node, command.operations
        if node is UNSET:
            raise InvalidCommand("which node?")

        def lag() -> int:
            known = self._relay.report_of(node)
            applied = [report.applied for report in self._reports() if report is not None]
            return max(applied, default=0) - known.applied if known is not None else 0

        await self._until(lambda: lag() >= count, command.within_s, f"node {node} is not {count} operations behind")
        behind = lag()
        return WaitResult(applied=behind, text=f"node {node} is {behind} operations behind")

    async def _wait_for_answers(self, within_s: float, context: str) -> WaitResult:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    count = await self._answers(self._up(), context)
                    if count is not None:
                        return WaitResult(context=context, answers=count, text=f"{context}: {count} answers received")
                    # A conversation gives the orchestrator no event to wait for.
                    await asyncio.sleep(ASK_EVERY_S)
        except TimeoutError:
            text = f"not all nodes that are up have answered in {context}"
            raise _too_late(within_s, text) from None

    async def _answers(self, up: list[int], context: str) -> int | None:
        """How many answers the last question has, if all nodes in `up` have answered and know all answers. Raises
        CommandError."""
        counts = [await self._answers_known_at(node, up, context) for node in up]
        return None if None in counts or not counts else counts[0]

    async def _answers_known_at(self, node: int, up: list[int], context: str) -> int | None:
        try:
            view = await self._client.run(node, f"view {context}", VIEW_S)
        except NodeUnreachable:
            return None
        if view.get("stale"):
            return None  # cut off for a moment: it may not know the conversation yet
        if not view.get("ok"):
            raise CommandError(f"node {node}: {view.get('error')}")
        candidates: dict[str, Any] = view["turns"][-1]["candidates"] if view["turns"] else {}
        answers = sum(each != str(SYNTHESIS) for each in candidates)
        return answers if all(str(each) in candidates for each in up) else None

    async def _until(self, condition: Callable[[], bool], within_s: float, otherwise: str) -> None:
        """Raises CommandError if `condition` does not hold in time."""
        if not await self._relay.until(condition, within_s):
            raise _too_late(within_s, otherwise)

    def _up(self) -> list[int]:
        return [node for node in self._relay.nodes if self._relay.is_up(node)]

    def _reports(self) -> list[Report | None]:
        """Of the nodes that are up."""
        return [self._relay.report_of(node) for node in self._up()]


def _too_late(within_s: float, otherwise: str) -> CommandError:
    return CommandError(f"after {within_s:g} s: {otherwise}")
