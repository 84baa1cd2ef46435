"""The process that runs the local model for all nodes of a machine.

`python -m llm.local_server <place> <model> <lock>` is run by the first node that needs it (llm/local_start.py). The
server belongs to no node: it outlives the one that started it, and leaves by itself when all nodes are gone, when
nobody has asked for a while, or when its directory is gone.
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

from llm.local_place import Address, Place

SLOTS = 5
"""Prompts that are answered at once: one for each node of the usual cluster. More wait in line."""
CONTEXT_TOKENS = 4096
"""Of each slot, for prompt and answer."""

_NICENESS = 10
_MAX_THREADS = 4
_START_LIMIT_S = 60
_LEAVE_LIMIT_S = 10
_WATCH_S = 1.0
_IDLE_S = 60.0
_GONE_S = 3.0
_PENALTY = 1.1
"""Small models like to repeat themselves."""


def main(arguments: list[str]) -> None:
    """`<lock>` is the descriptor of the start lock: inherited locked, closed when the server is ready."""
    place, model, start_lock = Place(Path(arguments[0])), Path(arguments[1]), int(arguments[2])
    signal.alarm(_START_LIMIT_S)  # a start that hangs ends, and with it the wait of the nodes
    token = secrets.token_urlsafe(32)
    server = start(model, token)
    give_way()
    published = place.publish(Address(server.listening_address, token, os.getpid()))
    os.close(start_lock)
    signal.alarm(0)
    watch(place, published, server)
    signal.alarm(_LEAVE_LIMIT_S)  # and so does an end that hangs


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_way() -> None:
    """Inference takes the processor time that nobody else wants, so that it never delays a heartbeat.

    Called when the model is loaded: that takes half a second of one core, but on a busy machine half a minute of the
    time that nobody else wants.
    """
    threads = Path("/proc/self/task")  # Linux knows niceness per thread, others per process
    for thread in [int(entry.name) for entry in threads.iterdir()] if threads.exists() else [0]:
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
    # Linux desktops schedule each session as a group; niceness then counts only within it, unless set for the group.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


def start(model: Path, token: str) -> Any:
    """llama.cpp's own HTTP server, listening on a free loopback port when this returns. Raises RuntimeError."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # not above: nodes import this file for its constants
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {model.stem}
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    parameters.cache_ram_mib = 0  # the slots themselves remember enough
    parameters.sampling.penalty_repeat = _PENALTY
    # Threads that generate wait for each other hundreds of times a token: one that has to share its core holds up all.
    parameters.cpuparams.n_threads = max(1, min(_MAX_THREADS, cores() - 1))
    parameters.cpuparams_batch.n_threads = min(_MAX_THREADS, cores())
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0  # threads that wait sleep; by default they spin
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [token]
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.verbosity = 2  # warnings and errors
    return xllamacpp.Server(parameters)


def watch(place: Place, published: int, server: Any) -> None:
    """Returns when the server should leave, with its address withdrawn."""
    last_work = ""
    last_use = last_user = time.monotonic()
    while True:
        time.sleep(_WATCH_S)
        now = time.monotonic()
        work = _work(server.handle_metrics())
        if work != last_work:
            last_work, last_use = work, now
        try:
            if not place.is_published(published):
                return
            if place.has_users():
                last_user = now
            if now - last_use < _IDLE_S and now - last_user < _GONE_S:
                continue
            # With the start lock no node can be about to use this address.
            with place.starting(wait=False) as lock:
                if lock is not None:
                    place.withdraw()
                    return
        except FileNotFoundError:
            return


def _work(metrics: str) -> str:
    """Changes while the server works."""
    telling = ("llamacpp:n_decode_total ", "llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    return "\n".join(line for line in metrics.splitlines() if line.startswith(telling))


if __name__ == "__main__":
    main(sys.argv[1:])
