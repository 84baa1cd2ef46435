"""Streamed JSON arrays are taken apart wherever they are divided, and only whole ones have an end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.bounded_session import ResponseTooLarge, _elements, _pieces

OBJECTS = st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.lists(st.integers(), max_size=2), max_size=3)


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(wire), *(place for place in places if place < len(wire))})
    return [wire[begin:end] for begin, end in pairwise(ends)]


PLACES = st.lists(st.integers(0, 200), max_size=6)


@given(st.lists(OBJECTS, max_size=5), st.sampled_from([",", ", \r\n", "\n,\n"]), PLACES)
def test_any_division_gives_the_same_elements(objects: list[Any], joint: str, places: list[int]) -> None:
    wire = ("[" + joint.join(json.dumps(one, ensure_ascii=False) for one in objects) + "]\n").encode()
    assert list(_elements(cut(wire, places))) == objects
    assert list(_elements(wire[at : at + 1] for at in range(len(wire)))) == objects


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.integers(0, 100))
def test_a_part_has_no_end(objects: list[Any], length: int) -> None:
    wire = json.dumps(objects).encode()
    with pytest.raises(ValueError):
        list(_elements([wire[: min(length, len(wire) - 1)]]))


@given(st.binary(max_size=50))
def test_any_bytes(noise: bytes) -> None:
    for wire in (noise, b"[" + noise, b"[" + noise + b"]", b"[{}," + noise):
        try:
            list(_elements([wire]))
        except ValueError:
            continue


def test_deep_nesting_is_no_element() -> None:
    with pytest.raises(ValueError):
        list(_elements([b"[" + b'{"a":' * 100_000 + b"}" * 10]))


def test_what_is_read_is_bounded() -> None:
    class Raw:
        def read1(self, size: int) -> bytes:
            return b"x" * size

    with pytest.raises(ResponseTooLarge):
        for _ in _pieces(Raw(), 1_000_000):
            pass
