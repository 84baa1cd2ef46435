"""The engine over etcd on a fake of etcd, in virtual time: scenes, and runs with faults drawn from seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.scenes_etcd import MORE, STORIES

SCENES = sorted({*STORIES.values(), *MORE}, key=lambda scene: scene.__name__)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_must_hold(scene: Callable[[], None]) -> None:
    scene()
