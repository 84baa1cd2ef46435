"""Command lines of the entry points: examples first, the same options and exit codes everywhere."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from config.config import DEFAULT_PATH
from launcher.paths import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
PRIVATE = 0o077
"""The umask of nodes and orchestrator: what they write is for this user alone, whatever the shell's umask is."""
EXIT_CODES = "exit codes: 0 done, 1 failed or refused, 2 wrong command line or configuration, 130 interrupted (Ctrl-C)"


def escape_what_cannot_be_shown() -> None:
    """What the locale, or PYTHONIOENCODING, has no characters for is shown as \\u4f60; it ends no program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Parser(argparse.ArgumentParser):
    """Shows examples (command, what it does) before everything else. Exits with EXIT_USAGE after a mistake."""

    def __init__(self, program: str, description: str, examples: Sequence[tuple[str, str]]) -> None:
        super().__init__(prog=program, description=description, epilog=EXIT_CODES)
        self._examples = examples
        self.add_argument("--version", action="version", version=f"ConsensusLLM {VERSION}")

    def format_help(self) -> str:
        width = max(len(command) for command, _ in self._examples)
        shown = "".join(f"  {command.ljust(width)}  {meaning}\n" for command, meaning in self._examples)
        return f"examples:\n{shown}\n{super().format_help()}"

    def add_config(self) -> None:
        """`--config`: the flag, else the environment, else the file in this directory."""
        self.add_argument(
            "--config", type=Path, default=Path(os.environ.get("CONFIG") or DEFAULT_PATH), metavar="FILE",
            help=f"configuration; default: the environment's CONFIG, else {DEFAULT_PATH}",
        )
