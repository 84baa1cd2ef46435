"""A cluster in a tmux session: one pane for the network, one for each node."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time

from config.config import Config
from launcher.arguments import ROOT
from launcher.configuration import nodes_to_start
from launcher.preconditions import LaunchError, port_is_free, require_free_port
from orchestrator.panes import OPTION, node_program, pane_command

STOP_WITHIN_S = 8.0


def session_name(config: Config) -> str:
    """The session's name: one per configuration file, so that several clusters can run side by side."""
    tag = hashlib.sha256(str(config.path).encode()).hexdigest()[:4]
    return f"consensus-{config.cluster.replace('.', '_')}-{tag}"


def is_running(config: Config) -> bool:
    return _quietly("has-session", "-t", f"={session_name(config)}")


def start(config: Config) -> None:
    """Makes the session unless there is one, and attaches to it. Raises LaunchError."""
    if is_running(config):
        print("The cluster is already running.")
    else:
        require_free_port(config)
        _make_session(config)
    _attach(session_name(config))


def stop(config: Config) -> None:
    """Ends the session and waits until its processes are gone. Raises LaunchError."""
    if not is_running(config):
        print("The cluster is not running.")
        return
    session = f"={session_name(config)}"
    panes = _tmux("list-panes", "-s", "-t", session, "-F", "#{pane_pid}").split()
    _tmux("kill-session", "-t", session)
    deadline = time.monotonic() + STOP_WITHIN_S
    while not port_is_free(config) or any(_is_alive(int(pid)) for pid in panes):
        if time.monotonic() > deadline:
            raise LaunchError(f"not all processes exited within {STOP_WITHIN_S:.0f} s; see: ps -ef | grep node.py")
        time.sleep(0.05)  # processes that are not our children provide no event to wait for
    print("Stopped; ./run.sh continues with the conversations on disk.")


def _make_session(config: Config) -> None:
    session = session_name(config)
    size = shutil.get_terminal_size((200, 50))
    network_pane = _tmux(
        "new-session", "-d", "-P", "-F", "#{pane_id}", "-s", session, "-c", str(ROOT), "-x", str(size.columns), "-y",
        str(size.lines), pane_command("network", ["network_server.py"], config.path),
    )
    for option, value in (("mouse", "on"), ("history-limit", "20000"), ("status-left-length", "40")):
        _tmux("set-option", "-t", session, option, value)
    for option, value in (
        ("pane-border-status", "top"), ("pane-border-format", " #{pane_title} "), ("remain-on-exit", "on"),
        ("allow-rename", "off"), ("allow-set-title", "off"),
    ):
        _quietly("set-option", "-w", "-t", session, option, value)  # older versions do not have all of these
    _tmux("select-pane", "-t", network_pane, "-T", "network (orchestrator)")
    node_panes = [_add_node(session, number, config) for number in nodes_to_start(config)]
    _tmux("select-pane", "-t", node_panes[0])


def _add_node(session: str, number: int, config: Config) -> str:
    """Returns the pane's id."""
    command = pane_command(str(number), node_program(number), config.path)
    pane = _tmux("split-window", "-P", "-F", "#{pane_id}", "-t", session, "-c", str(ROOT), command)
    _tmux("set-option", "-p", "-t", pane, OPTION, str(number))
    _tmux("select-pane", "-t", pane, "-T", f"node {number}")
    _tmux("select-layout", "-t", session, "tiled")
    return pane


def _attach(session: str) -> None:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        print(f"Running in the background; to see it: tmux attach -t {session}")
        return
    if os.environ.get("TMUX"):
        if _quietly("switch-client", "-t", f"={session}"):
            return
        del os.environ["TMUX"]  # the session is shown inside this pane of an outer tmux
    os.execvp("tmux", ["tmux", "attach-session", "-t", f"={session}"])


def _tmux(*arguments: str) -> str:
    """Runs tmux and returns what it prints. Raises LaunchError."""
    done = subprocess.run(["tmux", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise LaunchError(f"tmux {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _quietly(*arguments: str) -> bool:
    """Runs tmux and returns whether it succeeded."""
    return subprocess.run(["tmux", *arguments], capture_output=True).returncode == 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
