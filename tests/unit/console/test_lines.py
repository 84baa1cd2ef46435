"""Lines out of bytes, from whatever stdin may be."""

from __future__ import annotations

import asyncio
import os
import pty
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.lines import MAX_LINE, Line, LineSplitter, PipeInput, typed_line


def split(*chunks: bytes) -> list[Line]:
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.feed(chunk)] + list(splitter.finish())


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert split(*(data[a:b] for a, b in pairwise(edges))) == split(data)


@given(st.lists(st.text(st.characters(exclude_characters="\n\ufeff", exclude_categories=["Cs"]))))
def test_every_line_comes_back(texts: list[str]) -> None:
    lines = split("".join(text + "\n" for text in texts).encode())
    assert lines == [Line(number, text) for number, text in enumerate(texts, 1)]


def test_odd_lines() -> None:
    lines = split(b"\xef\xbb\xbfa\n\nb\xff\nno\x00 end")
    assert [line.text for line in lines][:2] == ["a", ""]
    assert lines[2].error == "the line is not valid UTF-8 (byte 2)"
    assert lines[3] == Line(4, "no\x00 end")


def test_too_long_lines_are_discarded_to_their_end() -> None:
    long = b"query c1 " + b"x" * (MAX_LINE + 5)
    lines = split(b"a\n", long[:500_000], long[500_000:], b"still the same line\nb\n", b"z" * (MAX_LINE + 1))
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert lines[1].error is not None and "too long" in lines[1].error
    assert lines[1].text.startswith("query c1") and len(lines[1].text) < 1000
    assert lines[2] == Line(3, "b")
    assert lines[3].error is not None


def test_the_longest_possible_line() -> None:
    assert split(b"x" * MAX_LINE + b"\n")[0].error is None


def test_typed_lines_follow_the_same_rules() -> None:
    assert typed_line(3, "view c1") == Line(3, "view c1")
    assert "UTF-8" in (typed_line(1, "a\udcff").error or "")
    assert "too long" in (typed_line(1, "x" * (MAX_LINE + 1)).error or "")


async def read_all(descriptor: int) -> list[str]:
    source = PipeInput(descriptor)
    try:
        return [line.text async for line in source.lines()]
    finally:
        source.stop()


def test_reads_files_and_nothing(tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text("create c1\n" * 20_000)
    for name, expected in ((path, 20_000), (Path(os.devnull), 0)):
        with name.open("rb") as file:
            assert len(asyncio.run(read_all(file.fileno()))) == expected


def test_a_closed_descriptor_is_the_end() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert asyncio.run(read_all(reading)) == []


def test_lines_arrive_while_the_writer_goes_on() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        lines = PipeInput(reading).lines()
        for text in ("one", "two"):
            os.write(writing, f"{text}\n".encode())
            async with asyncio.timeout(5):
                assert (await anext(lines)).text == text
        os.close(writing)
        with pytest.raises(StopAsyncIteration):
            await anext(lines)
        os.close(reading)

    asyncio.run(scenario())


def test_reads_a_terminal() -> None:
    leader, follower = pty.openpty()
    os.write(leader, b"view c1\n\x04")
    assert asyncio.run(read_all(follower)) == ["view c1"]
    os.close(leader)
    os.close(follower)
