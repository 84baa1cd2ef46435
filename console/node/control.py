"""A node's control socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from console.control_socket import ControlSocket, TellEvent
from console.node.executor import NodeExecutor
from console.node.table import NODE_TABLE
from server.event_feed import Tell
from server.session import Session


def node_socket(
    path: Path, open_session: Callable[[Tell], Session], close_session: Callable[[Session], None]
) -> ControlSocket[NodeExecutor]:
    """At `path`; each client has a session of its own."""

    def begin(tell: TellEvent) -> NodeExecutor:
        return NodeExecutor(open_session(lambda told: tell(told.event)))

    return ControlSocket(path, NODE_TABLE, begin, lambda executor: close_session(executor.session))
