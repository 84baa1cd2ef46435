"""`addNode`, `removeNode`, `replaceNode`: changes of the members, one at a time.

The members decide; the orchestrator asks for it at a node of this machine, another one if that one is lost meanwhile,
and sees to the processes: it lets a new node in and starts it, and does not start one again that was removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from api.operator_commands import AddNodeCommand, RemoveNodeCommand, ReplaceNodeCommand
from api.operator_results import MembershipResult
from net.relay.relay import Relay
from orchestrator.errors import CommandError
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.node_faults import NodeFaults
from orchestrator.node_numbers import NodeNumbers
from orchestrator.waiting import Waiting

WITHIN_S = 60.0
"""A change takes no longer, its processes apart."""
ASK_S = 40.0
"""The same at one node, which gives up after 30 s by itself."""
COMES_S = 6.0
"""A node that runs already, and was refused so far, tries again within a second or so; on a busy machine later."""
LEAVES_S = 10.0
SHOWN_S = 2.0
"""Most nodes report the new members within this time, usually at once."""

Change = Literal["add", "remove", "replace"]


class Members(msgspec.Struct, frozen=True):
    """As a node tells them."""

    cluster: str
    number: int
    votes: dict[int, bool]

    @property
    def numbers(self) -> list[int]:
        return sorted(self.votes)


class Membership:
    def __init__(
        self, relay: Relay, numbers: NodeNumbers, client: NodeClient, waiting: Waiting, nodes: NodeFaults
    ) -> None:
        self._relay = relay
        self._numbers = numbers
        self._client = client
        self._waiting = waiting
        self._nodes = nodes
        self._under_way: str | None = None

    async def add(self, command: AddNodeCommand) -> MembershipResult:
        node = command.node
        with self._alone(f"addNode {node}"):
            if node in (await self._current(node)).votes:
                hint = "" if self._relay.is_up(node) else f"; fixNode {node} starts it"
                raise CommandError(f"node {node} is a member already{hint}")
            self._relay.want(node)
            try:
                where = await self._run(node)
            except CommandError:
                self._relay.forget(node)
                raise
            try:
                members = await self._added(node)
            except CommandError as error:
                raise CommandError(f"{error}; node {node} is no member: addNode {node} tries again") from None
            self._relay.forget(node)
            return self._result(node, members, f"node {node} is a member now{where}")

    async def remove(self, command: RemoveNodeCommand) -> MembershipResult:
        node = await self._numbers.number(command.node)
        with self._alone(f"removeNode {node}"):
            members = await self._change("remove", node)
            self._relay.forget(node)
            self._nodes.forget(node)
            gone = await self._relay.wait_down(node, LEAVES_S)
            hint = "" if gone else ", but has not left yet: it does once it learns of this"
            return self._result(node, members, f"node {node} is no member any more{hint}")

    async def replace(self, command: ReplaceNodeCommand) -> MembershipResult:
        node = command.node
        with self._alone(f"replaceNode {node}"):
            if self._relay.is_up(node):
                raise CommandError(f"node {node} is up; its disk is replaced while it is down: failNode {node} first")
            members = await self._change("replace", node)
            text = f"the disk of node {node} does not count any more, until it has come back and caught up"
            try:
                text = f"{text}; {await self._nodes.start(node)}"
            except CommandError as error:
                text = f"{text}; it is not started: {error}"
            return self._result(node, members, text)

    # ---- Processes

    async def _run(self, node: int) -> str:
        """Returns when the node is connected; says where it was started. Raises CommandError."""
        if self._relay.is_up(node) or (
            self._relay.turned_away(node) and await self._relay.wait_up(node, COMES_S)
        ):
            return ""
        return f"; {await self._nodes.start(node, new=True)}"

    async def _added(self, node: int) -> Members:
        """Has the members add it. One with the disk of a member that was removed while it was down learns of that now,
        and leaves: it is started once more. Raises CommandError."""
        change = asyncio.ensure_future(self._change("add", node))
        gone = asyncio.ensure_future(self._relay.wait_down(node, WITHIN_S))
        try:
            await asyncio.wait([change, gone], return_when=asyncio.FIRST_COMPLETED)
            if not change.done() and not self._relay.is_up(node):
                await self._nodes.start(node)
            return await change
        finally:
            for each in (change, gone):
                each.cancel()
            await asyncio.wait([change, gone])

    # ---- What the members decide

    async def _change(self, change: Change, node: int) -> Members:
        """Returns the members once they have made the change, and `status` shows it. Raises CommandError."""
        try:
            async with asyncio.timeout(WITHIN_S):
                members = await self._asked_for(change, node)
        except TimeoutError:
            raise CommandError(f"not decided within {WITHIN_S:g} s; the change may still be made") from None
        await self._relay.until(lambda: self._relay.known.configuration >= members.number, SHOWN_S)
        return members

    async def _asked_for(self, change: Change, node: int) -> Members:
        """At one node after the other, as long as they are lost while they are asked. Raises CommandError."""
        lost = ""
        for asked in self._to_ask(node):
            try:
                if lost and _is_made(change, node, members := await self._members(asked)):
                    return members
                answer = await self._client.run(asked, f"members {change} {node}", ASK_S)
            except NodeUnreachable as error:
                lost = str(error)
                continue
            if not answer.get("ok"):
                raise CommandError(f"node {asked}: {answer.get('error')}")
            return _members(answer)
        raise CommandError(lost or "no member is up")

    async def _current(self, node: int) -> Members:
        """The members now, as a node other than this one knows them. Raises CommandError."""
        lost = "no member is up"
        for asked in self._to_ask(node):
            try:
                return await self._members(asked)
            except NodeUnreachable as error:
                lost = str(error)
        raise CommandError(lost)

    async def _members(self, asked: int) -> Members:
        """Raises NodeUnreachable, and CommandError if the cluster is not founded yet."""
        answer = await self._client.run(asked, "members", ASK_S)
        if not answer.get("ok"):
            raise CommandError(f"node {asked}: {answer.get('error')}")
        return _members(answer)

    def _to_ask(self, change_in: int) -> Iterator[int]:
        """Members that run: the leader first, and the one that the change is about only if there is no other."""
        up = [node for node in self._relay.members if self._relay.is_up(node) and not self._nodes.is_paused(node)]
        leader = self._waiting.leader()
        yield from sorted(up, key=lambda node: (node == change_in, node != leader, node))

    # ---- Within

    @contextlib.contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Raises CommandError while another change is under way."""
        if self._under_way is not None:
            raise CommandError(f"another change of the members is under way: {self._under_way}")
        self._under_way = what
        try:
            yield
        finally:
            self._under_way = None

    def _result(self, node: int, members: Members, text: str) -> MembershipResult:
        numbers = members.numbers
        are = "the members are" if len(numbers) > 1 else "the only member is"
        return MembershipResult(
            node=node, cluster=members.cluster, number=members.number, members=numbers,
            text=f"{text}; {are} {', '.join(map(str, numbers))}",
        )


def _members(answer: dict[str, Any]) -> Members:
    votes = {member["node"]: bool(member["votes"]) for member in answer["members"]}
    return Members(answer["cluster"], answer["number"], votes)


def _is_made(change: Change, node: int, members: Members) -> bool:
    if change == "replace":
        return not members.votes.get(node, True)
    return (node in members.votes) == (change == "add")
