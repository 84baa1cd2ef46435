"""Nothing that a terminal would interpret gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.safe_text import coloured, one_line, visible
from console.layout import Layout

ANYTHING = st.text(st.characters(), max_size=200) | st.text(
    st.sampled_from("a\x1b[]m0;\x07\r\n\t\x9b\x7f\u202e\u2066\ud800\U000e0041世"), max_size=60
)
PRINTED_AS_IS = {0x0A, 0x09}


def obeyed(text: str) -> set[str]:
    """Characters in `text` that do not simply display themselves."""
    return {
        character
        for character in text
        if (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and ord(character) not in PRINTED_AS_IS)
        or unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    }


@given(ANYTHING)
def test_nothing_dangerous_is_left(text: str) -> None:
    assert not obeyed(visible(text))
    visible(text).encode()


@given(ANYTHING)
def test_idempotent(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=200))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", "^[[31mred"),
        ("\x07\x00\x7f", "^G^@^?"),
        ("\x9b2J", "\\u{9b}2J"),
        ("a\u202eb", "a\\u{202e}b"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo^Mthree\n\tfour"),
        ("👩‍👩‍👧 naïve مرحبا", "👩‍👩‍👧 naïve مرحبا"),
    ],
)
def test_how_it_looks(raw: str, shown: str) -> None:
    assert visible(raw) == shown


@given(ANYTHING)
def test_only_colours_survive_in_coloured_text(text: str) -> None:
    painted = coloured("\x1b[1m" + text + "\x1b[0m")
    assert painted.startswith("\x1b[1m")
    for sequence in painted.split("\x1b")[1:]:
        assert sequence.startswith("[")
        assert set(sequence[1 : sequence.index("m")]) <= set("0123456789;")


@given(ANYTHING, st.integers(5, 50))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert "\n" not in shown and "\t" not in shown and len(shown) <= limit
    assert not obeyed(shown)


@given(ANYTHING, st.integers(20, 60), st.integers(0, 8))
def test_paper_is_safe_and_keeps_its_width(text: str, width: int, indent: int) -> None:
    from rich.cells import cell_len

    layout = Layout(width)
    for shown in (layout.text(text, indent), layout.table(("", ""), [("key", text)]), layout.bold(text)):
        assert not obeyed(shown)
    assert all(cell_len(line) <= width for line in layout.text(text, indent).split("\n"))


def test_paper_shortens() -> None:
    assert Layout(40).text("\n".join("abcdef"), 2, most=3) == "  a\n  b\n  c …"
    assert Layout(10).text("abcdefghi jkl", most=1) == "abcdefgh …"
    assert Layout(20).text("a few words that go on", 4, most=1) == "    a few words …"
    assert Layout().text("word " * 100).count("\n") == 0
