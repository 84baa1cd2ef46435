"""Starts, stops and resets a cluster in tmux: one pane for the network, one for each node. Called by run.sh."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from config.config import DEFAULT_PATH, Config, ConfigError, load
from launcher.arguments import EXIT_FAILED, EXIT_USAGE

ROOT = Path(__file__).resolve().parent.parent
LEAVE_WITHIN_S = 8.0
NODE_OPTION = "@consensus_node"
"""A pane option by which the orchestrator finds a node's pane again (see orchestrator/supervisor.py)."""
OURS = ("node-*", "history-*", "llm-*", "local-*", "*.log")
"""What `reset` deletes from the data directory, and nothing else."""


class LaunchError(Exception):
    """One line for the user: what is wrong and what to do."""


def tmux(*arguments: str) -> str:
    """Runs tmux and returns what it prints. Raises LaunchError."""
    done = subprocess.run(["tmux", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise LaunchError(f"tmux {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def session_name(config: Config) -> str:
    """One session for each configuration file, so that several clusters can run side by side."""
    tag = hashlib.sha256(str(config.path).encode()).hexdigest()[:4]
    return f"consensus-{config.cluster.replace('.', '_')}-{tag}"


def is_running(name: str) -> bool:
    return subprocess.run(["tmux", "has-session", "-t", f"={name}"], capture_output=True).returncode == 0


def port_is_free(config: Config) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.orchestrator.host, config.orchestrator.port))
        except OSError:
            return False
    return True


def start(config: Config) -> None:
    name = session_name(config)
    if is_running(name):
        print("The cluster is running already.")
    else:
        if not port_is_free(config):
            raise LaunchError(
                f"port {config.orchestrator.port} is in use by another program: stop that, or set another "
                f'"orchestrator": {{"port": ...}} in {config.path}'
            )
        _make_session(name, config)
    attach(name)


def _make_session(name: str, config: Config) -> None:
    network = shlex.join(["sh", "launcher/pane.sh", "network", sys.executable, "network_server.py", "--config",
                          str(config.path)])
    size = shutil.get_terminal_size((200, 50))
    pane = tmux(
        "new-session", "-d", "-P", "-F", "#{pane_id}", "-s", name, "-c", str(ROOT), "-x", str(size.columns), "-y",
        str(size.lines), network,
    )
    for option, value in (("mouse", "on"), ("history-limit", "20000"), ("status-left-length", "40")):
        tmux("set-option", "-t", name, option, value)
    for option, value in (
        ("pane-border-status", "top"), ("pane-border-format", " #{pane_title} "), ("remain-on-exit", "on"),
        ("allow-rename", "off"), ("allow-set-title", "off"),
    ):
        subprocess.run(["tmux", "set-option", "-w", "-t", name, option, value], capture_output=True)
    tmux("select-pane", "-t", pane, "-T", "network (orchestrator)")
    first = None
    for number in config.node_ids:
        command = shlex.join(["sh", "launcher/pane.sh", str(number), sys.executable, "node.py", str(number), "--config",
                              str(config.path)])
        pane = tmux("split-window", "-P", "-F", "#{pane_id}", "-t", name, "-c", str(ROOT), command)
        tmux("set-option", "-p", "-t", pane, NODE_OPTION, str(number))
        tmux("select-pane", "-t", pane, "-T", f"node {number}")
        tmux("select-layout", "-t", name, "tiled")
        first = first or pane
    tmux("select-pane", "-t", first or pane)


def attach(name: str) -> None:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        print(f"Running in the background; to see it: tmux attach -t {name}")
        return
    if os.environ.get("TMUX"):
        if subprocess.run(["tmux", "switch-client", "-t", f"={name}"], capture_output=True).returncode == 0:
            return
        del os.environ["TMUX"]  # a tmux that nobody looks at: the session is shown inside this pane
    os.execvp("tmux", ["tmux", "attach-session", "-t", f"={name}"])


def stop(config: Config) -> None:
    name = session_name(config)
    if not is_running(name):
        print("The cluster is not running.")
        return
    panes = tmux("list-panes", "-s", "-t", f"={name}", "-F", "#{pane_pid}").split()
    tmux("kill-session", "-t", f"={name}")
    deadline = time.monotonic() + LEAVE_WITHIN_S
    while not port_is_free(config) or any(_alive(int(pid)) for pid in panes):
        if time.monotonic() > deadline:
            raise LaunchError(f"not everything has left within {LEAVE_WITHIN_S:.0f} s; see: ps -ef | grep node.py")
        time.sleep(0.05)  # processes that are not our children give no event to wait for
    print("Stopped. The conversations are on disk; ./run.sh goes on with them.")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reset(config: Config, sure: bool) -> None:
    found = sorted({path for pattern in OURS for path in config.data_dir.glob(pattern)})
    if not sure:
        question = f"This deletes all conversations of cluster '{config.cluster}' in {config.data_dir}. Type yes: "
        if input(question).strip().lower() != "yes":
            print("Nothing was deleted.")
            return
    if is_running(session_name(config)):
        stop(config)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"Deleted {len(found)} files in {config.data_dir}.")


def configuration() -> Config:
    """The configuration named by CONFIG, else config.json, which is made from the example if there is none."""
    path = Path(os.environ.get("CONFIG") or ROOT / DEFAULT_PATH)
    example = ROOT / f"{DEFAULT_PATH}.example"
    if path == ROOT / DEFAULT_PATH and not path.exists():
        path.touch(mode=0o600)  # it may come to hold keys
        path.write_text(example.read_text())
        print(f"Wrote {path.name} from {example.name}.")
    return load(path)


def main(arguments: list[str]) -> int:
    command = arguments[0] if arguments else "start"
    try:
        config = configuration()
        if shutil.which("tmux") is None:
            raise LaunchError(
                "tmux is needed: install it (Debian: apt install tmux; macOS: brew install tmux), or do without: "
                "./run.sh --no-tmux"
            )
        match command:
            case "start":
                start(config)
            case "stop":
                stop(config)
            case "reset":
                reset(config, "--yes" in arguments)
    except (LaunchError, ConfigError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was changed.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
