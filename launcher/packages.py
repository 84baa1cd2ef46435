"""For who calls a program with a Python that lacks its packages. Imports nothing that has to be installed."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator

from launcher.paths import ROOT

EXIT_USAGE = 2
OLDEST = (3, 11)


@contextlib.contextmanager
def explained(program: str) -> Iterator[None]:
    """For the imports of `program`: exits in words if they cannot be found, or not understood."""
    if sys.version_info < OLDEST:
        _exit(program, f"this Python is {sys.version_info[0]}.{sys.version_info[1]}")
    try:
        yield
    except ModuleNotFoundError as missing:
        _exit(program, f"this Python lacks {missing.name}")


def _exit(program: str, why: str) -> None:
    python = ROOT / ".venv" / "bin" / "python"
    call = f"call {shlex.quote(str(python))} {shlex.quote(str(ROOT / program))}"
    print(f"{program}: {why}: {call}{'' if python.exists() else ', after ./run.sh setup'}", file=sys.stderr)
    sys.exit(EXIT_USAGE)
