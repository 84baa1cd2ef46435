"""The tmux panes of a cluster: one for the network, one for each node (see launcher/tmux.py)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import CommandError

ROOT = Path(__file__).resolve().parent.parent
HERE = str(ROOT).replace("#", "##")
"""The folder of the program, where tmux expects a format."""
OPTION = "@consensus_node"
"""A tmux pane with this option set to a number belongs to that node; its start command runs the node."""

TMUX_S = 5.0


class TmuxError(CommandError):
    """tmux did not do it; a sentence for the operator."""


def pane_command(name: str, program: Sequence[str], config: Path) -> list[str]:
    """The command of a pane that runs a program of this project, and stays when it ends. As several words, so that tmux
    runs it without the user's shell."""
    return ["sh", "launcher/pane.sh", name, sys.executable, *program, "--config", str(config)]


def node_program(node: int) -> list[str]:
    return ["node.py", str(node), "--join"]


async def start(node: int, config: Path, *, new: bool) -> str | None:
    """Starts the node in its pane of the tmux session that this process runs in; if it has none but others do, in a
    `new` one if that is wanted. Returns the pane, if there is one. Raises TmuxError."""
    here = os.environ.get("TMUX_PANE")
    if here is None or "TMUX" not in os.environ:
        return None
    panes = await _panes(here)
    if (pane := panes.get(str(node))) is not None:
        await _tmux("respawn-pane", "-k", "-t", pane)
        return pane
    return await _new_pane(node, list(panes.values())[-1], config) if panes and new else None


async def _new_pane(node: int, beside: str, config: Path) -> str:
    """In a window of its own if there is no space beside the other pane."""
    how = ["-d", "-P", "-F", "#{pane_id}", "-c", HERE, *pane_command(str(node), node_program(node), config)]
    try:
        pane = (await _tmux("split-window", "-t", beside, *how)).strip()
    except TmuxError:
        pane = (await _tmux("new-window", *how)).strip()
    await _tmux("set-option", "-p", "-t", pane, OPTION, str(node))
    await _tmux("select-pane", "-t", pane, "-T", f"node {node}")
    await _tmux("select-layout", "-t", beside, "tiled")
    return pane


async def _panes(here: str) -> dict[str, str]:
    """Those of nodes in the session of the pane `here`, by the nodes' numbers."""
    listed = await _tmux("list-panes", "-s", "-t", here, "-F", f"#{{pane_id}} #{{{OPTION}}}")
    found = (line.partition(" ") for line in listed.splitlines())
    return {number.strip(): pane for pane, _, number in found if number.strip()}


async def _tmux(*arguments: str) -> str:
    """What a tmux command prints. Raises TmuxError."""
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise TmuxError(f"tmux cannot be run: {error}") from error
    try:
        async with asyncio.timeout(TMUX_S):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise TmuxError(f"tmux {arguments[0]} did not answer within {TMUX_S:g} s") from None
    if process.returncode != 0:
        raise TmuxError(f"tmux {arguments[0]} failed: {errors.decode(errors='replace').strip()}")
    return output.decode(errors="replace")
