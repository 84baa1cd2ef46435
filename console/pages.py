"""Long results page by page, without ever hiding the prompt: Enter shows the next page, any command continues."""

from __future__ import annotations

from console.layout import Layout

_ROOM = 3
"""Screen lines not available for the page: the hint below it, the prompt, the status line."""


class Pages:
    """The rest of the last result."""

    def __init__(self) -> None:
        self._rest: list[str] = []

    def first(self, text: str, rows: int, layout: Layout) -> str:
        """The first page of `text` on a screen with this many rows (0 if unknown)."""
        lines = text.rstrip("\n").split("\n")
        if rows <= _ROOM or len(lines) <= rows - _ROOM + 1:
            self._rest = []
            return text
        self._rest = lines
        return self._page(rows, layout)

    def next(self, typed: str, rows: int, layout: Layout) -> str | None:
        """The page to show for a typed line; None if the line does not answer the paging hint."""
        if not self._rest:
            return None
        wish = typed.strip().lower()
        if wish == "":
            return self._page(rows, layout)
        self._rest = []
        return "" if wish == "q" else None

    def _page(self, rows: int, layout: Layout) -> str:
        size = max(rows - _ROOM, 1)
        page, self._rest = self._rest[:size], self._rest[size:]
        if self._rest:
            page.append(layout.dim(_hint(len(self._rest), layout.width)))
        return "\n".join(page) + "\n"


def _hint(count: int, width: int | None) -> str:
    """On one line, also in a narrow window."""
    hint = f"-- {count} more line{'s' if count > 1 else ''}: Enter shows more, q ends --"
    return hint if width is None or len(hint) <= width else f"-- {count} more: Enter, or q --"
