"""Links of 0.3 to 100 MB/s under load; see load.py."""

from __future__ import annotations

import pytest

from tests.simulation.load import Load


@pytest.mark.parametrize(("megabytes", "operations"), [(0.3, 20), (1.25, 50), (2.5, 100), (10.0, 200), (100.0, 500)])
def test_a_load_of_large_operations(megabytes: float, operations: int) -> None:
    Load(megabytes * 1e6, operations).is_carried()
