"""Every target, with the inputs of its corpus and some hundred more, always the same. `./run.sh fuzz` tries others."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutate
from tests.fuzz.registry import corpus, load, names


@pytest.mark.parametrize("name", names())
def test_target(name: str) -> None:
    target = load(name)
    seeds = target.seeds()

    @settings(
        max_examples=target.examples, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), st.integers(0, 2**32))
    def try_mutated(seed: bytes, number: int) -> None:
        data = mutate(seed, target.form, Random(number), seeds)
        note(f"the input: {data!r}")
        target.try_out(data)

    try:
        for data in (*seeds, *corpus(name), b""):
            target.try_out(data)
        try_mutated()
    finally:
        target.close()
