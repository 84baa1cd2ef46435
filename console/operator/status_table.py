"""The nodes and the links between them as one table: one row per node, ending with the state of its links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from api.operator_events import NetworkStatusEvent
from api.operator_results import NetworkStatusResult, NodeOverview
from api.safe_text import one_line
from console.layout import Layout
from orchestrator.link_quality import from_status

Status: TypeAlias = NetworkStatusResult | NetworkStatusEvent

WORKS, CUT, DISTURBED, ITSELF, AWAY = ".", "X", "~", " ", "-"
"""A link: works, is cut, delays or loses messages, does not exist, has one end down."""
LEGEND = f"rows send to columns: {WORKS} works, {CUT} cut, {DISTURBED} slow or lossy, {AWAY} down"

_GAP = 2
_MOST_REPORTED = 20
"""Characters; no honest node says more in one cell."""
_MATRIX = "to"


class _Column(NamedTuple):
    head: str
    keep: int
    """In a narrow window, the columns with the highest numbers are dropped first."""
    cell: Callable[[NodeOverview], str]
    right: bool = False


_COLUMNS = (
    _Column("node", 0, lambda node: str(node.node), right=True),
    _Column("", 0, lambda node: state(node)),
    _Column("role", 1, lambda node: _text(node.role)),
    _Column("ballot", 3, lambda node: ballot(node.ballot)),
    _Column("decided", 9, lambda node: _text(node.decided), right=True),
    _Column("applied", 2, lambda node: _text(node.applied), right=True),
    _Column("queue", 6, lambda node: _text(node.queued), right=True),
    _Column("digest", 4, lambda node: _text(node.digest)[:6]),
    _Column("msg/s in", 5, lambda node: f"{node.frames_in_per_s:.0f}", right=True),
    _Column("out", 5, lambda node: f"{node.frames_out_per_s:.0f}", right=True),
    _Column("kB/s in", 7, lambda node: f"{node.bytes_in_per_s / 1000:.1f}", right=True),
    _Column("out", 7, lambda node: f"{node.bytes_out_per_s / 1000:.1f}", right=True),
    _Column("lost", 8, lambda node: str(node.dropped), right=True),
)


def table(status: Status, layout: Layout) -> str:
    """As wide as the layout allows, with the columns that fit."""
    nodes = status.nodes
    matrix = _matrix(status)
    columns = list(_COLUMNS)
    while layout.width is not None and _total(columns, nodes, matrix) > layout.width and columns[-1].keep:
        last = max(column.keep for column in columns)
        if last == 0:
            break
        columns = [column for column in columns if column.keep < last]
    widths = [_width(column, nodes) for column in columns]
    heads = [_fit(column.head, width, column.right) for column, width in zip(columns, widths, strict=True)]
    lines = [layout.bold((" " * _GAP).join([*heads, matrix[0]]).rstrip())]
    for node, links in zip(nodes, matrix[1:], strict=True):
        cells = [
            _colour(_fit(column.cell(node), width, column.right), column, node, layout)
            for column, width in zip(columns, widths, strict=True)
        ]
        lines.append((" " * _GAP).join([*cells, _coloured_links(links, layout)]))
    return "\n".join(lines)


def state(node: NodeOverview) -> str:
    if not node.up:
        return "down"
    return "paused" if node.paused else "up"


def ballot(parts: Sequence[int] | None) -> str:
    """A node that knows of no leadership, or follows none, has none."""
    return "-" if parts is None or not parts[0] else "<" + ",".join(map(str, parts)) + ">"


def _matrix(status: Status) -> list[str]:
    """A head and a line for each node."""
    nodes = status.nodes
    away = {node.node for node in nodes if state(node) == "down"}
    cut = {(a, b) for a, b in status.links}
    bad = any(from_status(status).values())
    own = {(link.src, link.dst): any(from_status(link).values()) for link in status.own}
    numbers = [node.node for node in nodes]
    size = max(len(str(number)) for number in numbers)

    def mark(a: int, b: int) -> str:
        if a == b:
            return ITSELF
        if (a, b) in cut:
            return CUT
        if a in away or b in away:
            return AWAY
        return DISTURBED if own.get((a, b), bad) else WORKS

    head = f"{_MATRIX} " + " ".join(str(number).rjust(size) for number in numbers)
    indent = " " * (len(_MATRIX) + 1)
    return [head, *(indent + " ".join(mark(a, b).rjust(size) for b in numbers) for a in numbers)]


def _total(columns: Sequence[_Column], nodes: Sequence[NodeOverview], matrix: Sequence[str]) -> int:
    return sum(_width(column, nodes) + _GAP for column in columns) + len(matrix[0])


def _width(column: _Column, nodes: Sequence[NodeOverview]) -> int:
    return max(len(column.head), *(len(column.cell(node)) for node in nodes))


def _fit(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _colour(cell: str, column: _Column, node: NodeOverview, layout: Layout) -> str:
    if column.head == "role" and node.role == "leader":
        return layout.green(cell)
    if column.head == "" and state(node) != "up":
        return layout.red(cell)
    return layout.dim(cell) if state(node) == "down" else cell


def _coloured_links(links: str, layout: Layout) -> str:
    if not layout.colour:
        return links.rstrip()
    return "".join(layout.red(mark) if mark in (CUT, DISTURBED) else mark for mark in links)


def _text(value: object) -> str:
    """Of what a node reports of itself; it may say anything."""
    return "-" if value is None else one_line(str(value), _MOST_REPORTED)
