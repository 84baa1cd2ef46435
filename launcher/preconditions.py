"""What must hold before a cluster can be started."""

from __future__ import annotations

import socket

from config.config import Config
from launcher.configuration import nodes_to_start
from launcher.errors import LaunchError
from launcher.protection import tls_of
from net.tls import NETWORK, TlsError, node_name


def port_is_free(config: Config) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.orchestrator.host, config.orchestrator.port))
        except OSError:
            return False
    return True


def require_free_port(config: Config) -> None:
    """Raises LaunchError if the orchestrator could not listen. On etcd there is none."""
    if not config.engine.is_etcd and not port_is_free(config):
        raise LaunchError(
            f"port {config.orchestrator.port} is in use by another program: stop it, or set another "
            f'"orchestrator": {{"port": ...}} in {config.path}'
        )


def require_certificates(config: Config) -> None:
    """Raises LaunchError if a process of this cluster could not use its certificate."""
    try:
        network = [] if config.engine.is_etcd else [NETWORK]
        for name in (*network, *map(node_name, nodes_to_start(config))):
            tls_of(config, name)
    except TlsError as error:
        raise LaunchError(str(error)) from error
