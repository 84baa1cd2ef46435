"""The tmux session of a cluster: found again by the path of its configuration file, whatever has become of the file.

Imports nothing that has to be installed, so that a cluster can be stopped whatever has become of the installation.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from launcher.errors import LaunchError

STOP_WITHIN_S = 8.0
ANSWERS_WITHIN_S = 10.0
CONFIG_OPTION = "@consensus_config"
DATA_OPTION = "@consensus_data"
"""Options of a session: a digest of the configuration file's path, and the data directory's path in hexadecimal digits
(tmux replaces letters that it cannot show)."""


class Session(NamedTuple):
    name: str
    data_dir: Path | None
    """None if release 0.1.0 has started it."""
    server: tuple[str, ...]
    """What tmux is told to speak to the server that has it."""


def require_tmux() -> None:
    """Raises LaunchError if tmux is not installed."""
    if shutil.which("tmux") is None:
        raise LaunchError(
            "tmux is needed: install it (Debian: apt install tmux; macOS: brew install tmux), or run without it: "
            "./run.sh --no-tmux"
        )


def digest(config: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(config))).hexdigest()[:16]


def find(config: Path) -> Session | None:
    """The session that was started with this configuration file, if it is running."""
    if shutil.which("tmux") is None:
        return None
    for server in _servers():
        session = _find_at(server, config)
        if session is not None:
            return session
    return None


def _servers() -> list[tuple[str, ...]]:
    """First the one that this terminal is in, or tmux's usual one; then all that `tmux -L NAME` has made.

    By name, not by path: tmux then refuses a folder that is not private to this user. Whoever is spoken to is sent the
    environment and the terminal."""
    folder = Path(os.environ.get("TMUX_TMPDIR") or "/tmp", f"tmux-{os.getuid()}")
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_socket())
    except OSError:  # there has been none
        names = []
    return [(), *(("-L", name) for name in names)]


def _find_at(server: tuple[str, ...], config: Path) -> Session | None:
    old_name = re.compile(f"consensus-.*-{hashlib.sha256(os.fsencode(config)).hexdigest()[:4]}")
    listing = ["list-sessions", "-F", f"#{{{CONFIG_OPTION}}} #{{{DATA_OPTION}}} #{{session_name}}"]
    try:
        listed = _run("tmux", *server, *listing, timeout=ANSWERS_WITHIN_S)  # fails if there is no session at all
    except subprocess.TimeoutExpired:
        print(f"run.sh: {shlex.join(['tmux', *server])} does not answer: it is left out", file=sys.stderr)
        return None
    for line in listed.stdout.split("\n")[:-1]:
        started_with, data_dir, name = line.split(" ", 2)  # others' names may have spaces
        if started_with == digest(config) or (not started_with and old_name.fullmatch(name)):
            return Session(name, Path(os.fsdecode(bytes.fromhex(data_dir))) if data_dir else None, server)
    return None


def stop(session: Session) -> None:
    """Ends the session and waits until its processes are gone. Raises LaunchError."""
    target = f"={session.name}"
    listed = tmux("list-panes", "-s", "-t", target, "-F", "#{pane_pid}", server=session.server)
    panes = {int(pid) for pid in listed.split()}
    tmux("kill-session", "-t", target, server=session.server)
    deadline = time.monotonic() + STOP_WITHIN_S
    while _is_running(panes):
        if time.monotonic() > deadline:
            raise LaunchError(f"not all processes exited within {STOP_WITHIN_S:.0f} s; see: ps -ef | grep node.py")
        time.sleep(0.05)  # processes that are not our children provide no event to wait for


def tmux(*arguments: str, server: tuple[str, ...] = ()) -> str:
    """Runs tmux and returns what it prints. Raises LaunchError."""
    done = _run("tmux", *server, *arguments)
    if done.returncode != 0:
        raise LaunchError(f"tmux {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def quietly(*arguments: str) -> bool:
    """Runs tmux and returns whether it succeeded."""
    return subprocess.run(["tmux", *arguments], capture_output=True).returncode == 0


def _run(*command: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Whatever the locale is: other sessions may have any names."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout)


def _is_running(panes: set[int]) -> bool:
    """Whether anything of the panes' process groups is left: a shell, or the program in it. What has exited and is kept
    because nobody asks for its exit code, as in some containers, is not running."""
    if shutil.which("ps") is None:
        return any(_exists(pane) for pane in panes)
    listed = _run("ps", "-A", "-o", "pgid=,stat=").stdout
    left = (line.split() for line in listed.splitlines())
    return any(int(group) in panes and not state.startswith("Z") for group, state in left)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
