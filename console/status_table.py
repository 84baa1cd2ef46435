"""The nodes and the links between them as one table: each row a node, at its end what becomes of its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from console import Layout, Result

WORKS, CUT, DISTURBED, ITSELF, AWAY = ".", "X", "~", " ", "-"
"""Of a link: messages pass, none passes, some are late or lost, none exists, one end is down."""
LEGEND = f"rows send to columns: {WORKS} works, {CUT} cut, {DISTURBED} slow or lossy, {AWAY} down"

_GAP = 2
_MATRIX = "to"


class _Column(NamedTuple):
    head: str
    keep: int
    """Where there is no room for all columns, those with the highest numbers go first."""
    cell: Callable[[Result], str]
    right: bool = False


_COLUMNS = (
    _Column("node", 0, lambda node: str(node["node"]), right=True),
    _Column("", 0, lambda node: state(node)),
    _Column("role", 1, lambda node: _text(node["role"])),
    _Column("ballot", 3, lambda node: ballot(node["ballot"])),
    _Column("decided", 9, lambda node: _text(node["decided"]), right=True),
    _Column("applied", 2, lambda node: _text(node["applied"]), right=True),
    _Column("queue", 6, lambda node: _text(node["queued"]), right=True),
    _Column("digest", 4, lambda node: _text(node["digest"])[:6]),
    _Column("msg/s in", 5, lambda node: f"{node['frames_in_per_s']:.0f}", right=True),
    _Column("out", 5, lambda node: f"{node['frames_out_per_s']:.0f}", right=True),
    _Column("kB/s in", 7, lambda node: f"{node['bytes_in_per_s'] / 1000:.1f}", right=True),
    _Column("out", 7, lambda node: f"{node['bytes_out_per_s'] / 1000:.1f}", right=True),
    _Column("lost", 8, lambda node: str(node["dropped"]), right=True),
)


def table(status: Result, paper: Layout) -> str:
    """As wide as the paper, with the columns that have room."""
    nodes = status["nodes"]
    matrix = _matrix(status)
    columns = list(_COLUMNS)
    while paper.width is not None and _total(columns, nodes, matrix) > paper.width and columns[-1].keep:
        last = max(column.keep for column in columns)
        if last == 0:
            break
        columns = [column for column in columns if column.keep < last]
    widths = [_width(column, nodes) for column in columns]
    heads = [_fit(column.head, width, column.right) for column, width in zip(columns, widths, strict=True)]
    lines = [paper.bold((" " * _GAP).join([*heads, matrix[0]]).rstrip())]
    for node, links in zip(nodes, matrix[1:], strict=True):
        cells = [
            _colour(_fit(column.cell(node), width, column.right), column, node, paper)
            for column, width in zip(columns, widths, strict=True)
        ]
        lines.append((" " * _GAP).join([*cells, _coloured_links(links, paper)]))
    return "\n".join(lines)


def state(node: Result) -> str:
    if not node["up"]:
        return "down"
    return "paused" if node["paused"] else "up"


def ballot(parts: Sequence[int] | None) -> str:
    """A node that has heard of no leadership, or follows none, has none to show."""
    return "-" if parts is None or not parts[0] else "<" + ",".join(map(str, parts)) + ">"


def _matrix(status: Result) -> list[str]:
    """A head and a line for each node."""
    nodes = status["nodes"]
    away = {node["node"] for node in nodes if state(node) == "down"}
    cut = {(a, b) for a, b in status["links"]}
    bad = any(status[key] for key in ("delay_ms", "jitter_ms", "loss_percent", "duplicate_percent", "reorder_percent"))
    own = {(link["from"], link["to"]): link for link in status["own"]}
    numbers = [node["node"] for node in nodes]
    size = max(len(str(number)) for number in numbers)

    def mark(a: int, b: int) -> str:
        if a == b:
            return ITSELF
        if (a, b) in cut:
            return CUT
        if a in away or b in away:
            return AWAY
        return DISTURBED if (any(_faulty(own[a, b])) if (a, b) in own else bad) else WORKS

    head = f"{_MATRIX} " + " ".join(str(number).rjust(size) for number in numbers)
    indent = " " * (len(_MATRIX) + 1)
    return [head, *(indent + " ".join(mark(a, b).rjust(size) for b in numbers) for a in numbers)]


def _faulty(link: Result) -> Iterable[Any]:
    return (value for key, value in link.items() if key not in ("from", "to"))


def _total(columns: Sequence[_Column], nodes: Sequence[Result], matrix: Sequence[str]) -> int:
    return sum(_width(column, nodes) + _GAP for column in columns) + len(matrix[0])


def _width(column: _Column, nodes: Sequence[Result]) -> int:
    return max(len(column.head), *(len(column.cell(node)) for node in nodes))


def _fit(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _colour(cell: str, column: _Column, node: Result, paper: Layout) -> str:
    if column.head == "role" and node["role"] == "leader":
        return paper.green(cell)
    if column.head == "" and state(node) != "up":
        return paper.red(cell)
    return paper.dim(cell) if state(node) == "down" else cell


def _coloured_links(links: str, paper: Layout) -> str:
    if not paper.colour:
        return links.rstrip()
    return "".join(paper.red(mark) if mark in (CUT, DISTURBED) else mark for mark in links)


def _text(value: object) -> str:
    return "-" if value is None else str(value)
