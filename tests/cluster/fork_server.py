"""A process that has imported what a node and the network import, and forks into one of them whenever it is asked to.
forked.py starts it and asks.

A request comes with four descriptors: stdin, stdout and stderr of the new process, and a pipe for its exit code. There
is no thread and no event loop in here, so a fork is as good as a new interpreter. It leaves when nobody is left to ask,
and what it has started goes on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import network_server as _network_server  # noqa: F401 - for what it imports
import node as _node  # noqa: F401

MAX_REQUEST = 1024 * 1024
DESCRIPTORS = 4


class Request(NamedTuple):
    """`arguments`: the program and its arguments."""

    arguments: list[str]
    environment: dict[str, str]
    umask: int
    descriptors: list[int]


class Child(NamedTuple):
    pid: int
    report: int
    """Where its exit code goes."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at pytest is for what runs, and for pytest to clean up after
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        request = serve(requests)
    if request is not None:
        become(request)


def serve(requests: socket.socket) -> Request | None:
    """Returns in each child, with its request; in the server itself at the end, with None."""
    children: dict[int, Child] = {}
    poller = select.poll()
    poller.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor in children:
                poller.unregister(descriptor)
                os.close(descriptor)
                _reap(children.pop(descriptor))
                continue
            request = _receive(requests)
            if request is None:
                return None
            pid = os.fork()
            if pid == 0:
                return request
            *standard, report = request.descriptors
            for number in standard:
                os.close(number)
            ends = os.pidfd_open(pid)
            children[ends] = Child(pid, report)
            poller.register(ends, select.POLLIN)
            requests.send(str(pid).encode())


def _receive(requests: socket.socket) -> Request | None:
    message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, DESCRIPTORS)
    return Request(**json.loads(message), descriptors=descriptors) if message else None


def _reap(child: Child) -> None:
    _, status = os.waitpid(child.pid, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(child.report, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(child.report)


def become(request: Request) -> None:
    """Runs the program as an interpreter would that was started for it; this interpreter's own end is then its end."""
    program = request.arguments[0]
    for number, descriptor in enumerate(request.descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request.environment)
    os.umask(request.umask)
    _show([sys.executable, *request.arguments])
    sys.argv = request.arguments
    sys.path[0] = os.path.dirname(os.path.abspath(program))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(program, run_name="__main__")


def _show(command: list[str]) -> None:
    """As the command line of this process: the orchestrator recognizes a node by it. This process was started with an
    argument that is long enough to make room for any."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end; the first field here is the third of all
    line = b"".join(os.fsencode(word) + b"\0" for word in command)
    assert len(line) <= end - start, "the command line is too long"
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(line.ljust(end - start, b"\0"))


if __name__ == "__main__":
    main()
