"""Markdown in a colour terminal: light rendering, without losing any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from api.safe_text import coloured
from console.layout import Layout

COLOURED = Layout(40, colour=True)
TEXT = """\
# Mammals

There are **three** kinds, says `ls`:
a second line

- the platypus, which lays eggs and is a mammal all the same
- others

```python
print("<b>")
```
Is a <div> or [a link](http://example.org)?
"""
SHOWN = """\
    Mammals

    There are three kinds, says ls:
    a second line

     • the platypus, which lays eggs and
       is a mammal all the same
     • others


    print("<b>")


    Is a <div> or a link
    (http://example.org)?"""


def plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n"))


def test_it_is_shown_as_it_is_meant() -> None:
    shown = COLOURED.markdown(TEXT, 4)
    assert plain(shown).replace("     print", "    print") == SHOWN
    assert "\x1b[1mthree\x1b[0m" in shown and "\x1b[36mls\x1b[0m" in shown


def test_without_colours_the_text_stays_as_it_was_written() -> None:
    for layout in (Layout(40), Layout(None, True)):
        assert "**three** kinds" in layout.markdown(TEXT, 4)
    assert "**three**" in COLOURED.markdown(TEXT, 4, most=5), "an excerpt is not rendered"


@pytest.mark.parametrize(
    "text", ["> " * 50 + "deep", "- " * 50 + "deep", "&#27;[31mred &#8238;mirrored", "<script>", "a\n\n[x]: http://y"]
)
def test_nothing_is_lost_and_nothing_is_obeyed(text: str) -> None:
    shown = COLOURED.markdown(text, 4)
    assert coloured(shown) == shown
    words = re.findall(r"deep|red|mirrored|script|http://y", text)
    assert words and all(word in plain(shown) for word in words)


@given(st.text(st.sampled_from("ab \n*_`#>-1.|[]()<&;\t世🙂\x1b\u202e"), max_size=120))
@settings(max_examples=60, deadline=None)
def test_any_text_is_laid_out_safely(text: str) -> None:
    shown = COLOURED.markdown(text, 4)
    assert coloured(shown) == shown
    assert all(cell_len(line) <= 40 for line in plain(shown).split("\n"))
    assert set(re.findall("[ab]", text)) <= set(re.findall("[ab]", shown))
