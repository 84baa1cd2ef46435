"""Tells what a model thought from what it answers, where its server leaves both in one text."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

_TAGS = r"think|thinking|thoughts?|reasoning|reflection|scratchpad|seed:think"
_FLAGS = re.IGNORECASE | re.DOTALL
_DIALECTS = tuple(
    (re.compile(opening, _FLAGS), re.compile(closing, _FLAGS))
    for opening, closing in (
        *((rf"<{tag}(?:\s[^<>]{{0,100}}(?<!/))?>", rf"</{tag}\s*>") for tag in _TAGS.split("|")),
        (r"\[THINK\]", r"\[/THINK\]"),
        ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
        (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
        (r"<unused94>(?:thought\b)?", "<unused95>"),
        (r"<\|channel>(?:thought|analysis)\b", r"<channel\|>"),
        (
            r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<>]{0,100}<\|message\|>",
            r"<\|end\|>|(?=<\|start\|>)|(?=<\|channel\|>final)",
        ),
        (r"here(?: is|'s) my thought process:", r"here(?: is|'s) my response:"),
    )
)
"""How models mark where thoughts begin and end."""
_HINTS = ("<", "[", "\u25c1", "thought process:", "assistantfinal")
"""One of these is in any text that holds marked thoughts."""
_CHANNELS = ("<|channel|>", "<|start|>assistant<|channel|>")
_UNMARKED_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\W])(.*?)assistantfinal", re.DOTALL)
"""What is left of channels when a server drops the marks between them."""
_AROUND_ANSWER = (
    re.compile(
        r"(?:<\|start\|>assistant)?<\|channel\|>final[^<>]{0,100}<\|message\|>(.*?)(?:<\|(?:return|end)\|>)?", _FLAGS
    ),
    re.compile(r"<(?:answer|response|output)>(.*?)(?:</(?:answer|response|output)>)?", _FLAGS),
    re.compile(r"<\|START_RESPONSE\|>(.*?)(?:<\|END_RESPONSE\|>)?", _FLAGS),
    re.compile(r"<\|begin_of_solution\|>(.*?)(?:<\|end_of_solution\|>)?", _FLAGS),
)
_EMPTY = re.compile(rf"\s*<(?:{_TAGS})\s*/>", re.IGNORECASE)
_BEFORE_BLOCK = re.compile(r"(?:\A|\n)[ ]{0,3}\Z|[.!?\u2026][\"')\u201d]?[ \t]*\Z")
"""What stands before thoughts in the middle of an answer: the beginning of a line, or the end of a sentence."""
_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_MAX_BLOCKS = 20
_MAX_QUOTED = 50


class Separated(NamedTuple):
    answer: str
    thoughts: str


def separate(text: str) -> Separated:
    """The answer without the thoughts. Marks that a text quotes, in code or between quotation marks, and those that it
    mentions within a sentence, are part of it."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return Separated(text, "")
    thoughts: list[str] = []
    empty = _EMPTY.match(text)
    text = text if empty is None else text[empty.end() :]
    unmarked = _UNMARKED_CHANNELS.match(text)
    if unmarked is not None:
        thoughts.append(unmarked[1])
        text = text[unmarked.end() :]
    for _ in range(_MAX_BLOCKS):
        block = _next_block(text)
        if block is None:
            break
        text, thought = block
        thoughts.append(thought)
    if thoughts or text.lstrip().startswith(_CHANNELS):
        text = _unwrapped(text.strip())
    return Separated(text.strip(), "\n\n".join(thought.strip() for thought in thoughts if thought.strip()))


def before_open_block(text: str) -> str:
    """Up to where thoughts begin that have no end yet."""
    if not any(hint in text.lower() for hint in _HINTS):
        return text
    begun = [found.start() for opening, _ in _DIALECTS if (found := _first(opening, text, _begins_block)) is not None]
    return text[: min(begun)].rstrip() if begun else text


def _next_block(text: str) -> tuple[str, str] | None:
    """The text without its first block of thoughts, and that block; None if there is none."""
    head = len(text) - len(text.lstrip())
    for opening, closing in _DIALECTS:
        begin = opening.match(text, head)
        if begin is not None and _BEFORE_BLOCK.search(text, max(0, head - 5), head) is not None:
            end = _matching(text, begin.end(), opening, closing)
            return ("", text[begin.end() :]) if end is None else (text[end.end() :], text[begin.end() : end.start()])
    for opening, closing in _DIALECTS:
        begin, end = _first(opening, text, _begins_block), _first(closing, text, _ends_block)
        if end is None:
            if begin is not None and text[begin.end() : begin.end() + 1] == "\n":
                return text[: begin.start()], text[begin.end() :]  # cut in the middle of it
            continue
        if begin is None or end.start() < begin.start():
            if r"channel\|>" in opening.pattern or "here" in opening.pattern:
                continue  # what ends these blocks also ends answers
            if _first(opening, text[: end.start()], lambda *_: True) is not None:
                continue  # it closes what is mentioned
            return text[end.end() :], text[: end.start()]  # the model's template had opened the block already
        end = closing.search(text, begin.end())
        if end is not None:
            return text[: begin.start()] + text[end.end() :], text[begin.end() : end.start()]
    return None


def _matching(
    text: str, start: int, opening: re.Pattern[str], closing: re.Pattern[str]
) -> re.Match[str] | None:
    """The end of a block that begins at `start`: the first one after it that is not quoted, unless blocks are nested in
    it."""
    ends = islice(closing.finditer(text, start), _MAX_QUOTED)
    end = next((found for found in ends if not _is_quoted(text, found)), None) or closing.search(text, start)
    nested = len(opening.findall(text, start, end.start())) if end is not None else 0
    nested -= len(closing.findall(text, start, end.start())) if end is not None else 0
    deepest = end
    for _ in range(nested):
        following = closing.search(text, deepest.end()) if deepest is not None else None
        if following is None:
            break
        deepest = following
    return deepest


def _first(
    mark: re.Pattern[str], text: str, counts: Callable[[str, re.Match[str]], bool]
) -> re.Match[str] | None:
    return next((found for found in islice(mark.finditer(text), _MAX_QUOTED) if counts(text, found)), None)


def _begins_block(text: str, mark: re.Match[str]) -> bool:
    is_first = _BEFORE_BLOCK.search(text, max(0, mark.start() - 5), mark.start()) is not None
    return is_first and not _is_in_fence(text, mark.start())


def _ends_block(text: str, mark: re.Match[str]) -> bool:
    """Not if it is a word of a sentence: between blanks, or a blank and a punctuation mark, within a line."""
    before, after = text[: mark.start()][-1:], text[mark.end() : mark.end() + 1]
    is_mentioned = before in (" ", "\t") and after in (" ", "\t", ".", ",", ";", ":", ")")
    return not is_mentioned and not _is_quoted(text, mark)


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    before, after = text[: mark.start()][-1:], text[mark.end() : mark.end() + 1]
    if before and before in "`\"'\u201c\u2018" and after in ("`", '"', "'", "\u201d", "\u2019"):
        return True
    if _is_in_fence(text, mark.start()) and _FENCE.search(text, mark.end()) is not None:
        return True
    line = text.rfind("\n", 0, mark.start()) + 1
    return text.count("`", line, mark.start()) % 2 == 1 and "`" in text[mark.end() :].partition("\n")[0]


def _is_in_fence(text: str, place: int) -> bool:
    """Whether a block of code has begun and not ended before `place`."""
    opened = ""
    for fence in _FENCE.finditer(text, 0, place):
        opened = fence[1] if not opened else "" if opened == fence[1] else opened
    return bool(opened)


def _unwrapped(answer: str) -> str:
    for around in _AROUND_ANSWER:
        within = around.fullmatch(answer)
        if within is not None:
            return within[1]
    return answer
