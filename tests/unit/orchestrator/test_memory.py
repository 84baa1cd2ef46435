"""What the orchestrator remembers of its cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from net.relay.served_cluster import KnownCluster
from orchestrator.memory import NAME, forget, remember, remembered

KNOWN = KnownCluster((1 << 62) + 5, 3, (1, 2, 6))


def test_it_remembers_until_it_is_to_forget(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert remembered(folder, "demo") == KnownCluster()
    remember(folder, "demo", KNOWN)
    assert remembered(folder, "demo") == KNOWN
    assert remembered(folder, "other") == KnownCluster(), "the name in the configuration file has changed"
    forget(folder)
    forget(folder)
    assert remembered(folder, "demo") == KnownCluster()


@pytest.mark.parametrize("content", [
    "", "[]", '{"cluster": "demo", "cluster_id": "x", "configuration": 1, "members": []}'
])
def test_what_makes_no_sense_is_not_remembered(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert remembered(tmp_path, "demo") == KnownCluster()
