"""What must hold before a cluster can be started."""

from __future__ import annotations

import errno
import socket

from config.config import Config
from launcher.configuration import nodes_to_start
from launcher.errors import LaunchError
from launcher.protection import tls_of
from net.tls import NETWORK, TlsError, node_name


def port_is_free(config: Config) -> bool:
    """At none of the addresses of the orchestrator's host does anybody listen, and one at least can be listened at."""
    host, port = config.orchestrator.host, config.orchestrator.port
    can_listen = False
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                can_listen = True
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
    return can_listen


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
