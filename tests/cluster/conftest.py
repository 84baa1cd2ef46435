from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import CALM, Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Five nodes with the fake LLM, and a leader."""
    with Cluster(tmp_path) as running:
        running.leader()
        yield running


@pytest.fixture
def calm_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The same; no leader is replaced because the machine is busy for a second or two."""
    with Cluster(tmp_path, timing=CALM) as running:
        running.leader()
        yield running
