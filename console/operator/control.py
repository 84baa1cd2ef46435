"""The orchestrator's control socket: the operator's commands, for scripts and programs."""

from __future__ import annotations

from pathlib import Path

from api.base import Event
from console.command_table import TypedCommand
from console.control_socket import ControlSocket, TellEvent
from console.operator.prompt import OperatorPrompt
from console.operator.table import OPERATOR_TABLE
from orchestrator.service import Orchestrator


class _Client(OperatorPrompt):
    def __init__(self, orchestrator: Orchestrator, tell: TellEvent) -> None:
        super().__init__(orchestrator)
        self.tell = tell

    def on_command(self, typed: TypedCommand) -> None:
        """`watch` is on at the operator's prompt: what comes from elsewhere does not end it."""


class OperatorControl:
    def __init__(self, path: Path, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._clients: set[_Client] = set()
        self._socket = ControlSocket(path, OPERATOR_TABLE, self._begin, self._clients.discard)

    async def start(self) -> None:
        """Raises OSError. On a machine without nodes, or before the first of them, there is no directory yet."""
        self._socket.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._socket.start()

    async def close(self) -> None:
        await self._socket.close()

    def tell(self, event: Event) -> None:
        """All clients get what the operator is told."""
        for client in self._clients:
            client.tell(event)

    def _begin(self, tell: TellEvent) -> _Client:
        client = _Client(self._orchestrator, tell)
        self._clients.add(client)
        return client
