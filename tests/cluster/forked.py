"""Starts node.py and network_server.py by a fork (fork_server.py) where a test cannot tell it from a start by the
interpreter, which takes 0.3 s of processor time for imports alone. Torture (fleet.py) and the contract of 0.1.0
(contract_processes.py) start interpreters, as users do."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).resolve().parents[2]
LONGEST_COMMAND_LINE = 4096

_BEFORE_IMPORTS = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "SSL_", "OPENSSL_", "MALLOC_")
"""How environment variables begin that take effect when an interpreter starts."""


class Forked:
    """A process that a fork server has started, with what tests use of a `subprocess.Popen[bytes]`."""

    def __init__(self, arguments: Sequence[str], pid: int, stdin: int, stdout: int, exit_code: int) -> None:
        """The numbers of its ends of three pipes."""
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._arguments = arguments
        self._exit_code = os.fdopen(exit_code, "rb")

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self._arguments, timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, within: float | None) -> int | None:
        if self.returncode is None and _readable(self._exit_code, within):
            with self._exit_code:
                code = self._exit_code.read()
            assert code, "the fork server has left without a word"
            self.returncode = int(code)
        return self.returncode


class ForkServer:
    """Leaves with the process that has started it."""

    def __init__(self) -> None:
        self._start_up = _start_up(os.environ)
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            room = "-" * LONGEST_COMMAND_LINE
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.fork_server", str(theirs.fileno()), room], cwd=_ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()],
            )
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()  # never used: but streams at pipes are what it has to give to its children
        atexit.register(self.close)

    def can_start(self, environment: Mapping[str, str]) -> bool:
        return _start_up(environment) == self._start_up

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]) -> Forked:
        umask = os.umask(0o077)
        os.umask(umask)
        request = {"arguments": list(arguments), "environment": dict(environment), "umask": umask}
        (their_in, stdin), (stdout, their_out), (exit_code, report) = os.pipe(), os.pipe(), os.pipe()
        with self._lock:
            descriptors = [their_in, their_out, stderr.fileno(), report]
            socket.send_fds(self._requests, [json.dumps(request).encode()], descriptors)
            for number in (their_in, their_out, report):
                os.close(number)
            pid = self._requests.recv(64)
        assert pid, "the fork server has left"
        return Forked(arguments, int(pid), stdin, stdout, exit_code)

    def close(self) -> None:
        self._requests.shutdown(socket.SHUT_RDWR)  # for it, even if some process has a copy of this end
        self._requests.close()
        self._process.wait()


def start(
    arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes], prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes] | Forked:
    """Starts a program of Python's in the product's directory, with pipes at its stdin and stdout. `prefix`: a command
    that runs it."""
    if not prefix and hasattr(os, "pidfd_open"):
        server = next(_servers())
        if server.can_start(environment):
            return server.start(arguments, environment, stderr)
    return start_interpreter(arguments, environment, stderr, prefix)


def start_interpreter(
    arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes], prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*prefix, sys.executable, *arguments], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        env=environment,
    )


@cache
def _servers() -> itertools.cycle[ForkServer]:
    """Two in turn: what one has started has one seed of hashes, and nodes must agree whatever their order of sets."""
    return itertools.cycle([ForkServer(), ForkServer()])


def _start_up(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_BEFORE_IMPORTS)}


def _readable(pipe: IO[bytes], within: float | None) -> bool:
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    return bool(poller.poll(None if within is None else max(0, 1000 * within)))
