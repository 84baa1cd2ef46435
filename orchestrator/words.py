"""The words of the operator's commands: nodes, links, numbers, durations. Nonsense is answered with an example."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from console import Result
from net.relay.faults import Link

LEADER = "leader"
"""Stands for the number of the node that leads when the command is carried out."""

ONE_WAY = "--oneway"
FOR = "--for"
WITHIN = "--within"

MAX_DURATION_S = 86_400.0
_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(ms|s|m|)", re.IGNORECASE)

Action: TypeAlias = Callable[[], Awaitable[Result]]
"""What a command does, once its words are found to make sense."""


class CommandError(Exception):
    """A command that makes no sense, or failed; says what to do. One that makes no sense has changed nothing."""


class Flags(NamedTuple):
    """The words of a command, without its flags, and those."""

    words: list[str]
    one_way: bool = False
    seconds: float | None = None
    """Of `--for` or `--within`."""


def split_flags(args: Sequence[str], example: str, *, allowed: Iterable[str]) -> Flags:
    """Raises CommandError for a flag that is not `allowed`."""
    words, one_way, seconds = [], False, None
    rest = iter(args)
    for word in rest:
        flag = word.lower()
        if not flag.startswith("--"):
            words.append(word)
        elif flag not in allowed:
            raise CommandError(f"'{word[:40]}' is not known here, for example: {example}")
        elif flag == ONE_WAY:
            one_way = True
        else:
            seconds = duration(next(rest, ""), f"{example} {flag} 10s" if flag not in example else example)
    return Flags(words, one_way, seconds)


def duration(word: str, example: str) -> float:
    """Seconds: `10s`, `500ms`, `2m`, or a number of seconds. Raises CommandError."""
    match = _DURATION.fullmatch(word)
    seconds = float(match.group(1)) * _UNITS[match.group(2).lower()] if match else math.nan
    if not 0 < seconds <= MAX_DURATION_S:
        raise CommandError(f"'{word[:40]}' is no duration like 500ms, 10s or 2m, for example: {example}")
    return seconds


def number(word: str, most: float, unit: str, example: str) -> float:
    """A number from 0 to `most`. Raises CommandError."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise CommandError(f"'{word[:40]}' must be {unit}, from 0 to {most:.15g}, for example: {example}")
    return value


def percentage(word: str, example: str) -> float:
    return number(word.removesuffix("%"), 100, "a percentage", example)


def whole(word: str, least: int, unit: str, example: str) -> int:
    """A whole number of at most 18 digits. Raises CommandError."""
    if not (word.isascii() and word.isdigit() and len(word) <= 18 and int(word) >= least):
        raise CommandError(f"'{word[:40]}' must be {unit}, from {least}, for example: {example}")
    return int(word)


class Nodes:
    """The nodes of the cluster, and which of them the word `leader` means."""

    def __init__(self, numbers: Sequence[int], leader: Callable[[], Awaitable[int | None]]) -> None:
        """`leader` finds the node that leads; it may wait a moment for the end of an election."""
        self.numbers = list(numbers)
        self._leader = leader

    async def substitute(self, args: Sequence[str], example: str) -> list[str]:
        """The arguments with the leader's number for `leader`. Raises CommandError if nobody leads."""
        if not any(word.lower() == LEADER for word in args):
            return list(args)
        leader = await self._leader()
        if leader is None:
            raise CommandError(f"no node is known to lead now; name one by its number, for example: {example}")
        return [str(leader) if word.lower() == LEADER else word for word in args]

    def placeholder(self, args: Sequence[str]) -> list[str]:
        """The arguments with some node for `leader`: enough to see whether they make sense."""
        unnamed = next((str(node) for node in self.numbers if str(node) not in args), str(self.numbers[0]))
        return [unnamed if word.lower() == LEADER else word for word in args]

    def one(self, word: str, example: str) -> int:
        known = f"the nodes are {', '.join(map(str, self.numbers))}, for example: {example}"
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise CommandError(f"'{word[:40]}' is not the number of a node: {known}")
        if int(word) not in self.numbers:
            raise CommandError(f"there is no node {int(word)}: {known}")
        return int(word)

    def single(self, words: Sequence[str], example: str) -> int:
        """The node that is the only word."""
        if len(words) != 1:
            raise CommandError(f"one node is expected, for example: {example}")
        return self.one(words[0], example)

    def link(self, words: Sequence[str], one_way: bool, example: str) -> tuple[list[Link], str]:
        """The directed links that two words name, and their description."""
        if len(words) != 2:
            raise CommandError(f"a link has two ends, for example: {example}")
        a, b = (self.one(word, example) for word in words)
        if a == b:
            raise CommandError(f"node {a} has no link to itself, for example: {example}")
        if one_way:
            return [(a, b)], f"{a} -> {b}, this direction only"
        return [(a, b), (b, a)], f"{a} <-> {b}"

    def groups(self, text: str, example: str) -> list[list[int]]:
        """Groups like `1,2|3,4,5`, of which each node belongs to one."""
        parts = [re.split(r"[,\s]+", part) for part in text.split("|")]
        groups = [[self.one(word, example) for word in part if word] for part in parts]
        named = [node for group in groups for node in group]
        twice = sorted({node for node in named if named.count(node) > 1})
        missing = [node for node in self.numbers if node not in named]
        rule = f"each node belongs to one group, for example: {example}"
        if twice:
            raise CommandError(f"{_those(twice)} more than once: {rule}")
        if missing:
            raise CommandError(f"{_those(missing)} in no group: {rule}")
        if len(groups) < 2 or not all(groups):
            raise CommandError(f"at least two groups are needed, with | between them, for example: {example}")
        return groups


def _those(nodes: list[int]) -> str:
    return f"node {nodes[0]} is" if len(nodes) == 1 else f"nodes {', '.join(map(str, nodes))} are"
