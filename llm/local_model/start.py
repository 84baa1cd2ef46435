"""Finds or starts the local model's server: exactly one, whichever node asks first and whichever dies meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from llm.local_model.rendezvous import Address, ServerRendezvous
from llm.provider import ProviderError
from llm.wording import plain

_ROOT = Path(__file__).resolve().parents[2]
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:_|\b)PASS\b", re.IGNORECASE)
"""Environment variables that the server has no use for, and therefore does not get."""
_MAX_LOG_BYTES = 1_000_000


def find_or_start(rendezvous: ServerRendezvous, model: Path) -> Address:
    """The address of the running server. Blocks until it is ready: for about a second if it has to be started.

    Raises ProviderError if it does not start.
    """
    started = False
    while True:
        with rendezvous.starting(wait=True) as lock:
            assert lock is not None
            address = rendezvous.find()
            if address is not None:
                return address
            if started:
                said = plain(rendezvous.last_log_line())
                raise ProviderError(f"the local model's server did not start: {said} (see {rendezvous.log})")
            _start(rendezvous, model, lock)
        # The server keeps the start lock until it is ready or dead, so the next iteration waits for that.
        started = True


def _start(rendezvous: ServerRendezvous, model: Path, lock: int) -> None:
    fresh = not rendezvous.log.exists() or rendezvous.log.stat().st_size > _MAX_LOG_BYTES
    with open(rendezvous.log, "wb" if fresh else "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm.local_model.server", str(rendezvous.directory), str(model), str(lock)],
            cwd=_ROOT,
            env={name: value for name, value in os.environ.items() if _SECRET.search(name) is None},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,  # neither a Ctrl-C in the node's terminal nor the node's death reaches it
        )
    threading.Thread(target=process.wait, name="llm-reaper", daemon=True).start()
