"""Which tests `./run.sh test --quick` leaves out: those marked `slow`, and all that start clusters of real processes,
unless they are marked `quick`."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
IN_ONE_PROCESS = ("unit", "simulation", "fuzz")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] not in IN_ONE_PROCESS and item.get_closest_marker("quick") is None:
            item.add_marker(pytest.mark.slow)
