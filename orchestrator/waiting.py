"""`wait`: until the cluster has got somewhere, as far as its nodes report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from console import Result
from net.relay.relay import Relay
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.words import WITHIN, Action, CommandError, Nodes, split_flags, whole

WITHIN_S = 30.0
"""Unless `--within` says otherwise."""
ELECTION_S = 3.0
"""So long `leader`, as a node's number, waits for one: an election may be going on."""
REPORTED_S = 1.0
"""So old is what a node last reported at most, or it has not changed since."""
ASK_EVERY_S = 0.3
"""Between two questions to the nodes."""
VIEW_S = 5.0

_EXAMPLES = "for example: wait leader, wait leader new, wait leader 3,4, wait converged, wait applied 9"


class Waiting:
    def __init__(self, nodes: Nodes, relay: Relay, client: NodeClient) -> None:
        self._nodes = nodes
        self._relay = relay
        self._client = client
        self._last_leader: int | None = None
        """What `leader` meant last; any other one is new."""

    def leader(self) -> int | None:
        """The node that says that it leads while a majority agrees; of several, the newest leadership's."""
        reports = {node: self._relay.report_of(node) for node in self._nodes.numbers if self._relay.is_up(node)}
        following = [report.leader for report in reports.values() if report is not None]
        quorum = len(self._nodes.numbers) // 2 + 1
        claims = [
            (report.ballot, node)
            for node, report in reports.items()
            if report is not None and report.role == "leader" and following.count(node) >= quorum
        ]
        return max(claims)[1] if claims else None

    async def whoever_leads(self) -> int | None:
        """The leader, waited for a moment, and remembered: `wait leader new` is about another one."""
        return await self._found(self._nodes.numbers, ELECTION_S)

    async def _found(self, among: list[int], within: float) -> int | None:
        """One of these nodes, as soon as it leads; None if none does in time."""
        found: list[int] = []

        def leads() -> bool:
            leader = self.leader()
            found.extend([leader] if leader in among and leader is not None else [])
            return bool(found)

        if not await self._relay.until(leads, within):
            return None
        self._last_leader = found[0]
        return found[0]

    def plan(self, args: list[str]) -> Action:
        flags = split_flags(args, f"wait leader {WITHIN} 10s", allowed=(WITHIN,))
        what, *rest = [word.lower() for word in flags.words] or [""]
        within = flags.seconds or WITHIN_S
        match what, rest:
            case "leader", []:
                return lambda: self._leader(within, self._nodes.numbers, "no node leads")
            case "leader", ["new"]:
                return lambda: self._new_leader(within)
            case "leader", [numbers] if re.fullmatch(r"[\d,]+", numbers):
                among = [self._nodes.one(word, "wait leader 3,4,5") for word in numbers.split(",") if word]
                return lambda: self._leader(within, among, f"none of the nodes {numbers} leads")
            case "converged", []:
                return lambda: self._converged(within)
            case "applied", [count]:
                position = whole(count, 1, "the number of a position", "wait applied 20")
                return lambda: self._applied(within, position)
            case "answers", [_]:
                return lambda: self._answers(within, flags.words[1])  # ids of conversations keep their case
        raise CommandError(f"'{' '.join(args)[:40]}' is nothing to wait for, {_EXAMPLES}")

    async def _leader(self, within: float, among: list[int], otherwise: str) -> Result:
        leader = await self._found(among, within)
        if leader is None:
            raise CommandError(f"not within {within:g} s: {otherwise}")
        return {"leader": leader, "text": f"node {leader} leads"}

    async def _new_leader(self, within: float) -> Result:
        others = [node for node in self._nodes.numbers if node != self._last_leader]
        return await self._leader(within, others, f"nobody but node {self._last_leader} leads")

    async def _converged(self, within: float) -> Result:
        def same() -> bool:
            up = [node for node in self._nodes.numbers if self._relay.is_up(node)]
            reports = [report for node in up if (report := self._relay.report_of(node))]
            alike = len({(each.decided, each.applied, each.digest) for each in reports}) == 1
            return alike and len(reports) == len(up)

        # Nodes report what has changed every half second: only after that is a report that stays the same news.
        await asyncio.sleep(min(REPORTED_S, within))
        await self._until(same, within, "the nodes that are up have not all applied the same")
        up = [node for node in self._nodes.numbers if self._relay.is_up(node)]
        report = self._relay.report_of(up[0]) if up else None
        applied, digest = (report.applied, report.digest) if report else (0, "")
        text = f"nodes {', '.join(map(str, up))} have applied the same: {applied} operations, digest {digest[:8]}"
        return {"nodes": up, "applied": applied, "digest": digest, "text": text}

    async def _applied(self, within: float, position: int) -> Result:
        def there() -> bool:
            reports = [self._relay.report_of(node) for node in self._nodes.numbers if self._relay.is_up(node)]
            return bool(reports) and all(report is not None and report.applied >= position for report in reports)

        await self._until(there, within, f"not all nodes that are up have applied {position} operations")
        return {"applied": position, "text": f"all nodes that are up have applied at least {position} operations"}

    async def _answers(self, within: float, context: str) -> Result:
        try:
            async with asyncio.timeout(within):
                while True:
                    up = [node for node in self._nodes.numbers if self._relay.is_up(node)]
                    found = await self._answered(up, context)
                    if found is not None:
                        return {"context": context, "answers": found, "text": f"{context}: {found} answers are in"}
                    # A conversation gives the network's process no event to wait for.
                    await asyncio.sleep(ASK_EVERY_S)
        except TimeoutError:
            text = f"not within {within:g} s: the nodes that are up have not all answered in {context}"
            raise CommandError(text) from None

    async def _answered(self, up: list[int], context: str) -> int | None:
        """How many answers the last question has, if all nodes in `up` gave theirs and know all of them. Raises
        CommandError."""
        counts = [await self._known_at(node, up, context) for node in up]
        return None if None in counts or not counts else counts[0]

    async def _known_at(self, node: int, up: list[int], context: str) -> int | None:
        try:
            view = await self._client.run(node, f"view {context}", VIEW_S)
        except NodeUnreachable:
            return None
        if view.get("stale"):
            return None  # cut off for a moment: it may not have heard of the conversation yet
        if not view.get("ok"):
            raise CommandError(f"node {node}: {view.get('error')}")
        candidates: dict[str, Any] = view["turns"][-1]["candidates"] if view["turns"] else {}
        return len(candidates) if all(str(each) in candidates for each in up) else None

    async def _until(self, condition: Callable[[], bool], within: float, otherwise: str) -> None:
        """Raises CommandError if it is not so in time."""
        if not await self._relay.until(condition, within):
            raise CommandError(f"not within {within:g} s: {otherwise}")
