"""The operator's commands as the console wants them."""

from __future__ import annotations

from console import Command, Earlier, Layout, Result, Sequential
from console.operator_views import panel, show
from orchestrator.service import USAGES, Orchestrator


class OperatorPrompt(Sequential):
    """One command at a time, in the order typed."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        super().__init__(
            USAGES, orchestrator.execute, show=show, complete=orchestrator.complete,
            waiting_for=orchestrator.waiting_for,
        )
        self._orchestrator = orchestrator

    async def submit(self, command: Command, earlier: Earlier) -> Result:
        self._orchestrator.watch.next_line()
        return await super().submit(command, earlier)

    def status_line(self, paper: Layout) -> str:
        """What stands under the prompt: one line, or the panel of `watch`."""
        if self._orchestrator.watch.on:
            return panel(self._orchestrator.status(), paper)
        return self._orchestrator.status_line(paper.width)
