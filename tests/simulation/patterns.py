"""Patterns of links between five nodes: which there are, up to renaming, and what they allow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations, product

NODES = (1, 2, 3, 4, 5)
QUORUM = 3
PAIRS = tuple(combinations(NODES, 2))
ARROWS = tuple((one, other) for one in NODES for other in NODES if one != other)

TWO_WAY = 3
"""The state of a pair: 0 no link, 1 and 2 a link one way."""

Arrow = tuple[int, int]
Pattern = frozenset[Arrow]
"""The directed links that work."""


def symmetric(number: int) -> Pattern:
    """Pattern `number`, 0..1023: bit i says whether the i-th pair of nodes is linked."""
    return frozenset(
        arrow for bit, (one, other) in enumerate(PAIRS) if number >> bit & 1 for arrow in ((one, other), (other, one))
    )


def mutual(pattern: Pattern, node: int) -> int:
    """How many others exchange messages with `node` in both directions."""
    return sum((node, other) in pattern and (other, node) in pattern for other in NODES if other != node)


def able(pattern: Pattern) -> list[int]:
    """The nodes that reach a majority directly, themselves included."""
    return [node for node in NODES if mutual(pattern, node) + 1 >= QUORUM]


def reachable(pattern: Pattern, start: int) -> set[int]:
    """The nodes that messages of `start` can reach, if others relay them."""
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        for other in NODES:
            if other not in seen and (node, other) in pattern:
                seen.add(other)
                waiting.append(other)
    return seen


def connected(pattern: Pattern, leader: int) -> list[int]:
    """The nodes with a path to `leader` and a path back."""
    return [node for node in reachable(pattern, leader) if leader in reachable(pattern, node)]


def renamed(pattern: Pattern, order: tuple[int, ...]) -> Pattern:
    return frozenset((order[one - 1], order[other - 1]) for one, other in pattern)


def lonely_hubs() -> Iterator[Pattern]:
    """All one-way patterns in which exactly one node, here node 1, reaches a majority in both directions."""
    rest = NODES[1:]
    for spokes in (2, 3, 4):
        for partners in combinations(rest, spokes):
            pairs = [pair for pair in PAIRS if not (pair[0] == 1 and pair[1] in partners)]
            for states in product(*(range(TWO_WAY if 1 in pair else TWO_WAY + 1) for pair in pairs)):
                linked = [node for pair, state in zip(pairs, states, strict=True) if state == TWO_WAY for node in pair]
                if any(linked.count(node) + (node in partners) + 1 >= QUORUM for node in rest):
                    continue
                arrows = [(1, p) for p in partners] + [(p, 1) for p in partners]
                for (one, other), state in zip(pairs, states, strict=True):
                    arrows += [(one, other)] * (state & 1) + [(other, one)] * (state >> 1)
                yield frozenset(arrows)


class Renamings:
    """All renamings of the nodes that leave the `fixed` ones as they are."""

    def __init__(self, *fixed: int) -> None:
        others = [node for node in NODES if node not in fixed]
        bit = {arrow: 1 << number for number, arrow in enumerate(ARROWS)}
        self._tables = []
        for order in permutations(others):
            name = {**dict(zip(others, order, strict=True)), **{node: node for node in fixed}}
            self._tables.append({arrow: bit[name[arrow[0]], name[arrow[1]]] for arrow in ARROWS})

    def canonical(self, pattern: Pattern) -> int:
        """Equal for patterns that are the same up to renaming of nodes."""
        return min(self.numbers(pattern))

    def numbers(self, pattern: Pattern) -> list[int]:
        """One for each renaming; the first is that of the pattern as it is."""
        return [self._number(table, pattern) for table in self._tables]

    def number(self, pattern: Pattern) -> int:
        return self._number(self._tables[0], pattern)

    def _number(self, table: dict[Arrow, int], pattern: Pattern) -> int:
        return sum(map(table.__getitem__, pattern))


@cache
def one_way_classes() -> tuple[Pattern, ...]:
    """`lonely_hubs` up to renaming: the first of each class, in a fixed order."""
    renamings = Renamings(1)
    found: dict[int, Pattern] = {}
    known: set[int] = set()
    for pattern in lonely_hubs():
        if renamings.number(pattern) not in known:
            numbers = renamings.numbers(pattern)
            known.update(numbers)
            found[min(numbers)] = pattern
    return tuple(found[key] for key in sorted(found))
