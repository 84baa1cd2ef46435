"""What must hold before a cluster can be started."""

from __future__ import annotations

import shutil
import socket

from config.config import Config


class LaunchError(Exception):
    """One line for the user: what is wrong and what to do."""


def port_is_free(config: Config) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.orchestrator.host, config.orchestrator.port))
        except OSError:
            return False
    return True


def require_free_port(config: Config) -> None:
    """Raises LaunchError if the orchestrator could not listen."""
    if not port_is_free(config):
        raise LaunchError(
            f"port {config.orchestrator.port} is in use by another program: stop it, or set another "
            f'"orchestrator": {{"port": ...}} in {config.path}'
        )


def require_tmux() -> None:
    """Raises LaunchError if tmux is not installed."""
    if shutil.which("tmux") is None:
        raise LaunchError(
            "tmux is needed: install it (Debian: apt install tmux; macOS: brew install tmux), or run without it: "
            "./run.sh --no-tmux"
        )
