"""Finding the local model's server, or starting it: exactly one, whoever asks first and whoever dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from llm.provider import ProviderError
from llm.providers.local_rendezvous import Address, ServerRendezvous
from llm.wording import plain

_ROOT = Path(__file__).resolve().parents[2]
_MAX_LOG_BYTES = 1_000_000


def find_or_start(place: ServerRendezvous, model: Path) -> Address:
    """The address of the living server. Blocks until it is ready: for about a second if it has to be started.

    Raises ProviderError if it does not start.
    """
    started = False
    while True:
        with place.starting(wait=True) as lock:
            assert lock is not None
            address = place.find()
            if address is not None:
                return address
            if started:
                raise ProviderError(
                    f"the local model's server did not start: {plain(place.last_words())} (see {place.log})"
                )
            _start(place, model, lock)
        # The server holds the start lock on until it is ready or dead, so the next round waits for that.
        started = True


def _start(place: ServerRendezvous, model: Path, lock: int) -> None:
    fresh = not place.log.exists() or place.log.stat().st_size > _MAX_LOG_BYTES
    with open(place.log, "wb" if fresh else "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm.providers.local_server", str(place.directory), str(model), str(lock)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,  # neither a Ctrl-C in the node's terminal nor the node's death reaches it
        )
    threading.Thread(target=process.wait, name="llm-reaper", daemon=True).start()
