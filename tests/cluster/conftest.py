from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Five nodes with the fake LLM, and a leader."""
    with Cluster(tmp_path) as running:
        running.leader()
        yield running
