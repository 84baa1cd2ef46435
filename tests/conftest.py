"""Which tests `./run.sh test --quick` leaves out: those marked `slow`, and all that start clusters of real processes,
unless they are marked `quick`. No test has a deadline for single examples: on a busy machine any may take long."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import bytecode

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell that runs the tests in the background has them ignore Ctrl-C, and all processes that they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

bytecode.keep()  # for the thousands of processes that the tests start

TESTS = Path(__file__).parent
IN_ONE_PROCESS = ("unit", "simulation", "fuzz")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] not in IN_ONE_PROCESS and item.get_closest_marker("quick") is None:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def ipv6() -> str:
    """Loopback, where a machine has IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    return "::1"
