"""The process that runs the local model for all nodes of a machine.

`python -m llm.local_model.server <directory> <model> <lock>` is run by the first node that needs it (start.py). The
server belongs to no node: it outlives the one that started it, and exits by itself when all nodes are gone, when nobody
has asked for a while, or when its directory is gone.
"""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from llm.local_model.rendezvous import Address, ServerRendezvous

SLOTS = 5
"""Prompts that are processed concurrently: one for each node of a typical cluster. More are queued."""
CONTEXT_TOKENS = 4096
"""The context of each slot, for prompt and answer."""

NICENESS = 2
"""Beside a busy process on each of two cores, five nodes get their longest answers in 22 of the 30 s that they wait.
(With 10, even short ones were cut.) It hardly matters to heartbeats, to which one core is left: see `threads`."""
_MAX_THREADS = 4
_START_LIMIT_S = 60
_EXIT_LIMIT_S = 10


def main(arguments: list[str]) -> None:
    """`<lock>` is the descriptor of the start lock: inherited locked, closed when the server is ready."""
    rendezvous, model, start_lock = ServerRendezvous(Path(arguments[0])), Path(arguments[1]), int(arguments[2])
    signal.alarm(_START_LIMIT_S)  # ends a start that hangs, so that nodes do not wait for it
    token = secrets.token_urlsafe(32)
    server = start(model, token)
    lower_priority()
    published = rendezvous.publish(Address(server.listening_address, token, os.getpid()))
    os.close(start_lock)
    signal.alarm(0)
    watch(rendezvous, published, server)
    signal.alarm(_EXIT_LIMIT_S)  # likewise for a shutdown that hangs


def threads() -> int:
    """Compute threads: one core stays free. They synchronize hundreds of times per token, so a single one
    that shares its core would slow down all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MAX_THREADS, cores - 1))


def lower_priority() -> None:
    """Gives inference a lower CPU priority than nodes have.

    Called after the model is loaded: nodes wait for that, and it takes half a second of one core.
    """
    per_thread = Path("/proc/self/task")  # Linux has niceness per thread, others per process
    done: set[int] = set()
    while fresh := ({int(entry.name) for entry in per_thread.iterdir()} if per_thread.exists() else {0}) - done:
        for thread in fresh:
            with suppress(OSError):  # it has ended, or is already nicer
                os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        done |= fresh
    # Linux desktops schedule each session as a group; niceness then counts only within it, unless set for the group.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def start(model: Path, token: str) -> Any:
    """llama.cpp's own HTTP server, listening on a free loopback port when this returns. Raises RuntimeError."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # not at the top: nodes import this file for its constants
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {model.stem}
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    parameters.cache_ram_mib = 0  # the slots' own caches are enough
    parameters.cache_idle_slots = False
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        cpu.n_threads = threads()
        cpu.poll = 0  # waiting threads sleep; by default they spin
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [token]
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.verbosity = 2  # warnings and errors
    return xllamacpp.Server(parameters)


def watch(
    rendezvous: ServerRendezvous, published: int, server: Any, *,
    every_s: float = 1, idle_s: float = 60, gone_s: float = 3,
) -> None:
    """Returns when the server should exit, with its address withdrawn: when it had no work for `idle_s`, no users for
    `gone_s`, or when its directory is gone or another server's. Checks every `every_s` seconds."""
    last_activity = ""
    last_use = last_user = time.monotonic()
    while True:
        time.sleep(every_s)
        now = time.monotonic()
        try:
            if not rendezvous.is_published(published):
                return
            if rendezvous.has_users():
                last_user = now
                activity = _activity(server.handle_metrics())
                if activity != last_activity:
                    last_activity, last_use = activity, now
            if now - last_use < idle_s and now - last_user < gone_s:
                continue
            with rendezvous.starting(wait=False) as lock:
                if lock is not None:  # else a node is looking for the server right now
                    rendezvous.withdraw()
                    return
        except FileNotFoundError:
            return


def _activity(metrics: str) -> str:
    """A value that changes while the server works."""
    telling = ("llamacpp:n_decode_total ", "llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    return "\n".join(line for line in metrics.splitlines() if line.startswith(telling))


if __name__ == "__main__":
    main(sys.argv[1:])
