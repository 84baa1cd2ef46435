"""Markdown as LLMs write it, lightly rendered for a colour terminal. Slow to import: only imported where needed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown
from rich.theme import Theme

_THEME = Theme(
    {
        "markdown.h1": "bold", "markdown.h2": "bold", "markdown.h3": "bold", "markdown.h4": "bold",
        "markdown.code": "cyan", "markdown.code_block": "cyan", "markdown.block_quote": "dim",
        "markdown.item.bullet": "none", "markdown.item.number": "none", "markdown.hr": "dim",
        "markdown.link": "underline", "markdown.link_url": "dim", "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)
_TRAILING = re.compile(r"[ \t]+((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)
_DEEP = 12
"""More nesting markers than this at the start of a line may make a parser drop text."""
_MARKERS = re.compile(r"[>*+-]|\d+[.)]")
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["image", "reference"])
"""A parser without HTML: a `<tag>` in an answer is shown as text."""


class _Plain(Heading):
    """A heading that is not centred."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Light(Markdown):
    elements = {**Markdown.elements, "heading_open": _Plain}  # noqa: RUF012 - as in the base class

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.parsed = _PARSER.parse(text)
        _keep_line_breaks(self.parsed)


def is_odd(text: str) -> bool:
    """Whether the nesting is so deep that a parser could lose text."""
    for line in text.split("\n"):
        content = line.lstrip(" >*+-0123456789.)")
        if content and len(_MARKERS.findall(line[: len(line) - len(content)])) > _DEEP:
            return True
    return False


def render(text: str, width: int) -> str:
    """`text`, which is safe to show, as lines of at most `width` cells with colours."""
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=True, color_system="standard", legacy_windows=False, theme=_THEME,
        highlight=False, emoji=False, markup=False,
    )
    console.print(_Light(text))
    return _TRAILING.sub(r"\1", page.getvalue()).strip("\n")


def _keep_line_breaks(tokens: Iterable[Token]) -> None:
    """Keeps line breaks of the source: LLMs intend them."""
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        _keep_line_breaks(token.children or ())
