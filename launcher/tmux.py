"""A cluster in a tmux session: one pane for the network, unless the engine is etcd, and one for each node."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator

from config.config import Config
from launcher.configuration import nodes_to_start
from launcher.errors import LaunchError
from launcher.sessions import CONFIG_OPTION, DATA_OPTION, digest, quietly, tmux
from orchestrator.panes import HERE, OPTION, node_program, pane_command

_OF_TMUX = ("TMUX", "TMUX_PANE", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION")
"""Variables that tmux sets itself."""
_UNUSED_INDEX = 9000
"""Of tmux's option `update-environment`, a list: its user's own entries come before this one."""


def session_name(config: Config) -> str:
    """The session's name: one per configuration file, so that several clusters can run side by side."""
    tag = hashlib.sha256(os.fsencode(config.path)).hexdigest()[:4]
    return f"consensus-{config.cluster.replace('.', '_')}-{tag}"


def start(config: Config) -> None:
    """Makes the session, and attaches to it. Raises LaunchError."""
    session = session_name(config)
    first_pane = _make_session(session, config)
    try:
        _fill_window(first_pane, config)
    except LaunchError:
        quietly("kill-session", "-t", f"={session}")
        raise
    attach(session)


def _make_session(session: str, config: Config) -> str:
    """Whatever the user's own settings are: what would harm is set for this session, and the programs are run without
    the user's shell. Returns the first pane."""
    size = shutil.get_terminal_size((200, 50))
    kept = [
        ("destroy-unattached", "off"), (CONFIG_OPTION, digest(config.path)),
        (DATA_OPTION, os.fsencode(config.data_dir).hex()), ("mouse", "on"), ("history-limit", "20000"),
        ("status-left-length", "40"), ("status-right-length", "60"),
        ("status-right", "#{prefix} d leaves, #{prefix} z zooms, ./run.sh stop ends it"),
    ]
    settings = [word for option, value in kept for word in (";", "set-option", "-t", session, option, value)]
    if not quietly("list-sessions"):
        settings += [";", "set-option", "-s", "exit-unattached", "off"]  # this starts the server, with only this in it
    with _own_environment():
        return tmux(
            "new-session", "-d", "-P", "-F", "#{pane_id}", "-s", session, "-c", HERE, "-x", str(size.columns), "-y",
            str(size.lines), *_first_command(config), *settings,
        )


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """A session that is made meanwhile gets the environment of this process (keys, proxies, certificates, locale), not
    only that in which the user's tmux was started once. By an option, because arguments can be seen by other users."""
    names = sorted(name for name in os.environ if name.isidentifier() and name not in _OF_TMUX)
    entries = [(f"update-environment[{index}]", name) for index, name in enumerate(names, _UNUSED_INDEX)]
    quietly(*(word for entry, name in entries for word in ("set-option", "-g", entry, name, ";")))
    try:
        yield
    finally:
        quietly(*(word for entry, _ in entries for word in ("set-option", "-gu", entry, ";")))


def _first_command(config: Config) -> list[str]:
    if not config.engine.is_etcd:
        return pane_command("network", ["network_server.py"], config.path)
    first = nodes_to_start(config)[0]
    return pane_command(str(first), node_program(first), config.path)


def _fill_window(first_pane: str, config: Config) -> None:
    for option, value in (
        ("pane-border-status", "top"), ("pane-border-format", " #{pane_title} "), ("remain-on-exit", "on"),
        ("allow-rename", "off"), ("allow-set-title", "off"), ("synchronize-panes", "off"),
    ):
        quietly("set-option", "-w", "-t", first_pane, option, value)  # older versions do not have all of these
    numbers, panes = nodes_to_start(config), [first_pane]
    if config.engine.is_etcd:
        _name_pane(first_pane, numbers.pop(0))
    else:
        tmux("select-pane", "-t", first_pane, "-T", "network (orchestrator)")
    for number in numbers:
        panes.append(_add_node(panes[-1], number, config))
    tmux("select-pane", "-t", panes[0 if config.engine.is_etcd else 1])


def _add_node(beside: str, number: int, config: Config) -> str:
    """After the pane `beside`. Returns the new pane's id."""
    command = pane_command(str(number), node_program(number), config.path)
    pane = tmux("split-window", "-P", "-F", "#{pane_id}", "-t", beside, "-c", HERE, *command)
    _name_pane(pane, number)
    tmux("select-layout", "-t", pane, "tiled")
    return pane


def _name_pane(pane: str, number: int) -> None:
    tmux("set-option", "-p", "-t", pane, OPTION, str(number))
    tmux("select-pane", "-t", pane, "-T", f"node {number}")


def attach(session: str, server: tuple[str, ...] = ()) -> None:
    """Shows a session of that server of tmux."""
    capable = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    if not capable or not sys.stdin.isatty() or not sys.stdout.isatty():
        print(f"Running in the background; to see it: {shlex.join(['tmux', *server, 'attach', '-t', session])}")
        return
    if os.environ.get("TMUX"):
        if not server and quietly("switch-client", "-t", f"={session}"):  # another server would switch another terminal
            return
        del os.environ["TMUX"]  # the session is shown inside this pane of an outer tmux
    os.execvp("tmux", ["tmux", *server, "attach-session", "-t", f"={session}"])
