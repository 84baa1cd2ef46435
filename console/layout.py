"""The output device of text for humans, and layout that depends on it."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from api.safe_text import coloured, visible
from console.cells import chopped, steady, width

_UNBOUNDED = 1_000_000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_MOST_MARKDOWN = 20_000
"""Characters; longer texts are not rendered as Markdown."""

_log = logging.getLogger(__name__)


class Layout(msgspec.Struct, frozen=True):
    """`width` in terminal cells; None means lines of any length (a pipe or a file). `height` is in lines, None if there
    is no screen to fit. All methods make their input safe
    to show (see api/safe_text.py)."""

    width: int | None = None
    colour: bool = False
    height: int | None = None

    def bold(self, text: str) -> str:
        return self._styled(text, "1")

    def dim(self, text: str) -> str:
        return self._styled(text, "2")

    def red(self, text: str) -> str:
        return self._styled(text, "31")

    def green(self, text: str) -> str:
        return self._styled(text, "32")

    def yellow(self, text: str) -> str:
        return self._styled(text, "33")

    def blue(self, text: str) -> str:
        return self._styled(text, "34")

    def magenta(self, text: str) -> str:
        return self._styled(text, "35")

    def cyan(self, text: str) -> str:
        return self._styled(text, "36")

    def markdown(self, text: str, indent: int = 0, most: int | None = None) -> str:
        """Like `text`; with colours, and unless only a part is wanted, Markdown is rendered instead of shown as
        signs."""
        if not self.colour or self.width is None or most is not None or len(text) > _MOST_MARKDOWN:
            return self.text(text, indent, most)
        room = max(self.width - indent, 10)
        try:
            from console.markdown import is_odd, render

            shown = "" if is_odd(text) else render(visible(text), room)
        except Exception:  # noqa: BLE001 - whatever a parser does with a model's text, the plain text can be shown
            _log.exception("an answer could not be rendered as Markdown")
            return self.text(text, indent)
        if not shown.strip() or any(width(_COLOURS.sub("", line)) > room for line in shown.split("\n")):
            return self.text(text, indent)  # what is too wide on some terminals is wrapped without being rendered
        return coloured("\n".join((" " * indent + line).rstrip() for line in shown.split("\n")))

    def text(self, text: str, indent: int = 0, most: int | None = None) -> str:
        """`text` wrapped and indented, at most `most` lines of it; the last one ends in "…" if there is more."""
        room = None if self.width is None else max(self.width - indent, 10)
        lines: list[str] = []
        for line in _wrapped(visible(text.strip("\r\n")), room):
            if most is not None and len(lines) == most:
                lines[-1] = _more(lines[-1], room)
                break
            lines.append(line.rstrip())
        return "\n".join((" " * indent + line).rstrip() for line in lines)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]], rigid: int = 0) -> str:
        """Aligned columns under a head (no head line if it is empty); cells wrap where necessary,
        except in the first `rigid` columns."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=any(head), pad_edge=False, padding=(0, 2, 0, 0))
        for index, title in enumerate(head):
            table.add_column(Text(visible(title)), overflow="fold", no_wrap=index < rigid)
        for row in rows:
            table.add_row(*(Text(steady(visible(str(cell)))) for cell in row))
        page = io.StringIO()
        console = Console(
            file=page, width=self.width or _UNBOUNDED, force_terminal=self.colour, legacy_windows=False,
            color_system="standard" if self.colour else None,
        )
        console.print(table)
        return _TRAILING.sub("", page.getvalue()).strip("\n")

    def _styled(self, text: str, code: str) -> str:
        """Colours each line separately, so that lines can be cut out and moved."""
        shown = visible(text)
        if not self.colour:
            return shown
        return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line else line for line in shown.split("\n"))


def _more(line: str, room: int | None) -> str:
    """The line with an ellipsis, within the available width."""
    if room is not None and width(line) + 2 > room:
        line = line[:-1]
        while width(line) + 2 > room:
            line = line[:-1]
        line = line.rpartition(" ")[0].rstrip() or line  # drop a truncated word
    return f"{line.rstrip()} …".lstrip()


def _wrapped(text: str, room: int | None) -> Iterator[str]:
    """Lines of at most `room` cells, broken at spaces where possible."""
    for line in text.split("\n"):
        line = line.expandtabs(4)
        if room is None or width(line) <= room:
            yield line
            continue
        current, used = "", 0
        for word in re.findall(r"\s+|\S+", line):
            size = width(word)
            if used + size > room and used:
                if current.strip():
                    yield current
                current, used = "", 0
                if word.isspace():
                    continue
            if size > room:
                *full, word = chopped(word, room)
                yield from full
                size = width(word)
            current, used = current + word, used + size
        if current:
            yield current
