"""The time at the left of what happens, on a screen."""

from __future__ import annotations

import time

import msgspec

from console.layout import Layout

_WIDTH = len("12:34:56 ")
_NARROWEST = 40
"""Columns. What is narrower needs them for the text."""


def beside(layout: Layout) -> Layout:
    """The room beside the time."""
    if layout.width is None or layout.width < _NARROWEST:
        return layout
    return msgspec.structs.replace(layout, width=layout.width - _WIDTH)


def with_time(text: str, layout: Layout) -> str:
    """The text, laid out `beside` the time in this layout; as it is where there is no room."""
    if not text.strip("\n") or beside(layout) is layout:
        return text
    first, *rest = text.strip("\n").split("\n")
    now = layout.dim(time.strftime("%H:%M:%S"))
    return "\n".join([f"{now} {first}", *(f"{' ' * _WIDTH}{line}".rstrip() for line in rest)])
