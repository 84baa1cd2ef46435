"""Files of bytecode for the processes that are started from here."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile


def keep() -> None:
    """Without them each process compiles all that it imports, and takes three times as long to start. Who wants no such
    files beside the sources gets them elsewhere, for as long as this process runs."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        folder = tempfile.mkdtemp(prefix="consensusllm-bytecode-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = folder
        sys.dont_write_bytecode = False
