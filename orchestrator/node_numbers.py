"""The numbers of the cluster's nodes, and which of them `leader` means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from api.errors import InvalidCommand
from api.operator_commands import (
    LEADER,
    FailLinkCommand,
    FailNodeCommand,
    FaultCommand,
    FixLinkCommand,
    FixNodeCommand,
    IsolateCommand,
    LinkEnds,
    LinkQualityCommand,
    LoadCommand,
    NodeCommand,
    NodeName,
    PartitionCommand,
    PauseNodeCommand,
    RemoveNodeCommand,
    ReplaceNodeCommand,
    ResumeNodeCommand,
    WaitCommand,
)
from orchestrator.errors import CommandError

F = TypeVar("F", bound=FaultCommand[Any])


class NodeNumbers:
    def __init__(
        self, numbers: Callable[[], Sequence[int]], find_leader: Callable[[], Awaitable[int | None]]
    ) -> None:
        """`find_leader` may wait a moment for the end of an election."""
        self._numbers = numbers
        self._find_leader = find_leader
        self._changed: Mapping[int, bool] = {}

    @property
    def all(self) -> list[int]:
        """The members, and whoever else runs."""
        numbers = {**dict.fromkeys(self._numbers(), True), **self._changed}
        return sorted(number for number, is_there in numbers.items() if is_there)

    def check(self, command: object, changed: Mapping[int, bool]) -> None:
        """Raises InvalidCommand if the command is invalid whichever node leads when it is run. `changed` says
        which nodes will have been added by then (True), or removed (False)."""
        self._changed = changed
        try:
            self._check(command)
        finally:
            self._changed = {}

    def _check(self, command: object) -> None:
        match command:
            case FailLinkCommand() | FixLinkCommand():
                self._check_link(command.link)
            case LinkQualityCommand() if command.link is not None:
                self._check_link(command.link)
            case LinkQualityCommand() if command.one_way:
                raise InvalidCommand("--oneway needs a link: two nodes first")
            case NodeCommand(line=line) if not line.strip() or line.strip().startswith("#"):
                raise InvalidCommand("node N: needs a command")
            case (
                IsolateCommand() | FailNodeCommand() | FixNodeCommand() | PauseNodeCommand() | ResumeNodeCommand()
                | NodeCommand() | LoadCommand() | RemoveNodeCommand() | ReplaceNodeCommand()
            ):
                self._check_node(command.node)
            case PartitionCommand():
                self._check_groups(command.groups)
            case WaitCommand():
                for node in (*command.among, *([] if command.node is UNSET else [command.node])):
                    self._check_node(node)

    async def number(self, name: NodeName) -> int:
        """Raises CommandError if there is no leader."""
        if name != LEADER:
            return name
        leader = await self._find_leader()
        if leader is None:
            raise CommandError("no leader is known now; give a node's number")
        return leader

    async def resolve(self, command: F) -> F:
        """The command with the leader's number for `leader`. Raises CommandError if there is no leader."""
        values = msgspec.structs.asdict(command)
        node, link, words = values.get("node"), values.get("link"), command.words
        if node != LEADER and LEADER not in (link or ()):
            return command
        leader = await self.number(LEADER)
        changed: dict[str, object] = {} if node is None else {"node": leader}
        if link is not None:
            changed["link"] = tuple(leader if end == LEADER else end for end in link)
        if words is not UNSET:
            changed["words"] = re.sub(rf"(?<!\S){LEADER}(?!\S)", str(leader), words, flags=re.IGNORECASE)
        return msgspec.structs.replace(command, **changed)

    def _check_node(self, name: NodeName) -> None:
        if name != LEADER and name not in self.all:
            raise InvalidCommand(f"there is no node {name}: the nodes are {', '.join(map(str, self.all))}")

    def _check_link(self, ends: LinkEnds) -> None:
        for end in ends:
            self._check_node(end)
        if ends[0] == ends[1]:
            raise InvalidCommand(f"node {ends[0]} has no link to itself")

    def _check_groups(self, groups: Sequence[Sequence[int]]) -> None:
        named = [node for group in groups for node in group]
        for node in named:
            self._check_node(node)
        rule = "each node belongs to one group"
        if twice := sorted({node for node in named if named.count(node) > 1}):
            raise InvalidCommand(f"{nodes_are(twice)} more than once: {rule}")
        if missing := [node for node in self.all if node not in named]:
            raise InvalidCommand(f"{nodes_are(missing)} in no group: {rule}")
        if len(groups) < 2 or not all(groups):
            raise InvalidCommand("at least two groups are needed, with | between them")


def nodes_are(numbers: Sequence[int]) -> str:
    """`node 1 is`, `nodes 1, 2 are`."""
    return f"node {numbers[0]} is" if len(numbers) == 1 else f"nodes {', '.join(map(str, numbers))} are"
