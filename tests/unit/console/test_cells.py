"""How many cells a text takes at most, whatever terminal draws it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcswidth

from console.cells import chopped, steady, width

THUMB, FLAG, HEART, CODER = "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f469\u200d\U0001f4bb"
odd = st.text(st.sampled_from("ab\u6f22e\u0301" + THUMB + FLAG + HEART + CODER), max_size=40)


@pytest.mark.parametrize(
    ("text", "cells"),
    [("", 0), ("abc", 3), ("\u6f22", 2), ("e\u0301", 1), (THUMB, 4), (FLAG, 4), (HEART, 2), (CODER, 4)]
)
def test_parts_that_are_drawn_apart_count(text: str, cells: int) -> None:
    assert width(text) == cells


@given(odd | st.text(st.characters(categories=["L", "N", "P", "S", "M"])))
def test_it_is_never_less_than_a_terminal_takes(text: str) -> None:
    assert width(text) >= max(wcswidth(text), cell_len(text))


@given(odd, st.integers(3, 20))
def test_pieces_fit_and_are_the_whole(word: str, columns: int) -> None:
    pieces = chopped(word, columns)
    assert "".join(pieces) == word
    assert all(width(piece) <= columns for piece in pieces)
    assert not any(piece.startswith("\u0301") for piece in pieces[1:])


@given(odd)
def test_steady_text_has_one_width(text: str) -> None:
    shown = steady(text)
    assert width(shown) == cell_len(shown) == wcswidth(shown)
    assert steady("plain") == "plain" and steady(FLAG) == "DE"
