"""Long results page by page, without ever taking the prompt away: Enter shows the next page, any command goes on."""

from __future__ import annotations

from console.layout import Layout

_ROOM = 3
"""Lines of a screen that are not for the page: what is said below it, the prompt, the status line."""


class Pages:
    """What is left of the last result."""

    def __init__(self) -> None:
        self._rest: list[str] = []

    def first(self, text: str, rows: int, layout: Layout) -> str:
        """As much of `text` as is shown at once on a screen of so many rows (0 if that is not known)."""
        lines = text.rstrip("\n").split("\n")
        if rows <= _ROOM or len(lines) <= rows - _ROOM + 1:
            self._rest = []
            return text
        self._rest = lines
        return self._page(rows, layout)

    def next(self, typed: str, rows: int, layout: Layout) -> str | None:
        """What to show now that this line was typed; None if it is no answer to the question whether to go on."""
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
            count = len(self._rest)
            page.append(layout.dim(f"-- {count} more line{'s' if count > 1 else ''}: Enter shows more, q ends --"))
        return "\n".join(page) + "\n"
