"""The real local model, for the tests that use it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from llm.local_model.rendezvous import ServerRendezvous
from llm.providers.local import find_model

REAL_MODEL = "model_dir"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose model server is shared by a module's tests, as by the nodes of a cluster; no server
    survives them."""
    directory = tmp_path_factory.mktemp("data")
    yield directory
    address = ServerRendezvous.of(directory, find_model(None)).find()
    if address is not None:
        with suppress(ProcessLookupError):
            os.kill(address.pid, signal.SIGKILL)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test of the real model is slow."""
    if REAL_MODEL in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.slow)
