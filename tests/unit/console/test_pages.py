"""Long results by pages."""

from __future__ import annotations

from console.layout import Layout
from console.pages import Pages

LAYOUT = Layout(80)
TEXT = "".join(f"line {number}\n" for number in range(100))


def test_what_fits_on_the_screen_is_shown_at_once() -> None:
    pages = Pages()
    short = "x\n" * 18
    assert pages.first(short, 20, LAYOUT) == short
    assert "1 more" not in pages.first(short, 20, LAYOUT)
    assert "-- 2 more lines" in pages.first(short + "x\n", 20, LAYOUT), "what is said below takes a line too"
    assert pages.next("q", 20, LAYOUT) == ""
    assert pages.first(TEXT, 0, LAYOUT) == TEXT, "nobody knows how large the screen is"
    assert pages.next("", 20, LAYOUT) is None, "an empty line is nothing then"


def test_enter_shows_more_until_all_is_shown() -> None:
    pages = Pages()
    shown = [pages.first(TEXT, 33, LAYOUT)]
    assert shown[0].endswith("line 29\n-- 70 more lines: Enter shows more, q ends --\n")
    while (page := pages.next("", 33, LAYOUT)) is not None:
        shown.append(page)
    assert "".join(line for page in shown for line in page.splitlines(True) if not line.startswith("--")) == TEXT
    assert len(shown) == 4


def test_the_hint_is_one_line_in_a_narrow_window() -> None:
    assert Pages().first(TEXT, 10, Layout(39)).endswith("line 6\n-- 93 more: Enter, or q --\n")


def test_q_ends_and_a_command_goes_on() -> None:
    pages = Pages()
    pages.first(TEXT, 23, LAYOUT)
    assert pages.next(" Q ", 23, LAYOUT) == ""
    assert pages.next("", 23, LAYOUT) is None
    pages.first(TEXT, 23, LAYOUT)
    assert pages.next("view c1", 23, LAYOUT) is None, "to be carried out"
    assert pages.next("", 23, LAYOUT) is None
