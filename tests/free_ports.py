"""Ports for servers that are started soon: no two at a time for the processes of one test run, and none that the system
gives to connections."""

from __future__ import annotations

import os
import re
import socket

FIRST, LAST = 10_000, 32_000
"""The system gives ports from 32768 on to whoever connects: one in use so could not be bound."""
WORKERS = 16
SLICE = (LAST - FIRST) // WORKERS


class FreePorts:
    """Those of one process, in turn."""

    def __init__(self) -> None:
        self._first = FIRST + _worker() * SLICE
        self._next = os.getpid() * 37 % SLICE
        """Another test run at the same time begins elsewhere."""

    def take(self, count: int) -> int:
        while True:
            if self._next + count > SLICE:
                self._next = 0
            first = self._first + self._next
            self._next += count
            if all(_is_free(port) for port in range(first, first + count)):
                return first


def free_ports(count: int) -> int:
    """The first of so many in a row."""
    return _PORTS.take(count)


def free_port() -> int:
    return free_ports(1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _worker() -> int:
    """Those of pytest-xdist have numbers."""
    number = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(number[1]) % (WORKERS - 1) if number else WORKERS - 1


_PORTS = FreePorts()
