"""The operator's node faults: crash and restart, pause and resume."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from pathlib import Path
from typing import Annotated, cast

import msgspec
from msgspec import UNSET

from api.operator_commands import FailNodeCommand, FixNodeCommand, PauseNodeCommand, ResumeNodeCommand
from api.operator_results import NodeResult
from net.relay.relay import Relay
from net.sockets import is_loopback
from orchestrator.errors import CommandError
from orchestrator.local_process import LocalProcess
from orchestrator.node_numbers import nodes_are
from orchestrator.supervisor import Supervisor
from orchestrator.timers import Timers, Undo

CRASH_S = 0.3
"""A node that has not crashed by then may be stopped; it is killed from outside if possible."""
GONE_S = 5.0
START_S = 30.0
"""Starting five at once on a busy machine is slow."""
SETTLE_S = 3.0
"""For this long after the orchestrator's start, an unconnected node may still be reconnecting."""


class NodeFaults:
    """Carries out commands that have passed NodeNumbers.check, with numbers instead of `leader`."""

    def __init__(self, relay: Relay, supervisor: Supervisor, timers: Timers, data_dir: Path) -> None:
        self._relay = relay
        self._supervisor = supervisor
        self._timers = timers
        self._data_dir = data_dir
        self._started = 0.0
        self._paused: dict[int, int] = {}
        """Node -> the process id of its stopped process."""
        self._crashed: set[int] = set()
        """Crashed by `failNode`, and not restarted from here."""
        self._crashing: set[int] = set()
        """Told to crash by a `failNode` that was called off, as by the end of a script, before they were gone."""
        self._starting: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """The prompt and clients of the page may want the same node started at a time."""
        self._tokens: dict[int, int] = {}
        """Node -> the fault that will end automatically."""

    def started(self) -> None:
        """Called when the relay starts to listen."""
        self._started = asyncio.get_running_loop().time()

    def is_paused(self, node: int) -> bool:
        return node in self._paused and self._relay.process(node) == self._paused[node]

    async def reset(self) -> list[str]:
        """Resumes paused nodes and restarts crashed ones; returns the changes as text. Raises CommandError if
        a node did not come up."""
        for token in self._tokens.values():
            self._timers.cancel(token)
        self._tokens.clear()
        paused = [node for node in list(self._paused) if self._continue(node)]
        words = [f"{nodes_are(paused)} running again"] if paused else []
        for node in list(self._crashing):
            if await self._relay.wait_down(node, GONE_S):
                await self._supervisor.kill(node)
                self._crashed.add(node)
            self._crashing.discard(node)
        crashed = sorted(node for node in self._crashed if not self._relay.is_up(node))
        self._crashed.intersection_update(crashed)
        results = await asyncio.gather(*(self.start(node) for node in crashed), return_exceptions=True)
        # Only now: if this is called off, they are still to be started. One that came up may have crashed again.
        failed = {node: result for node, result in zip(crashed, results, strict=True)
                  if isinstance(result, BaseException)}
        self._crashed.difference_update(failed)
        failures = list(failed.values())
        for failure in failures:
            if not isinstance(failure, CommandError):
                raise failure
        if failures:
            raise CommandError("all link faults are removed, but: " + "; ".join(map(str, failures)))
        return [*words, f"{nodes_are(crashed)} up again"] if crashed else words

    def forget(self, node: int) -> None:
        """It is no member any more: whatever was done to it is over, and it is not started again."""
        self._cancel_timer(node)
        self._crashing.discard(node)
        self._crashed.discard(node)
        self._continue(node)

    def close(self) -> None:
        """Resumes paused nodes: nothing else would resume them later."""
        for node in list(self._paused):
            self._continue(node)

    # ---- Crash and start

    async def fail(self, command: FailNodeCommand) -> NodeResult:
        node = cast(int, command.node)
        async with self._starting[node]:  # what is being started is to crash, too
            pass
        self._cancel_timer(node)
        settled = self._started + SETTLE_S - asyncio.get_running_loop().time()
        up = await self._relay.wait_up(node, max(settled, 0))
        process_id = self._relay.process(node)
        process = None if process_id is None else LocalProcess.find(process_id, node)
        self._supervisor.leave_down(node)
        try:
            if up:
                await self._crash(node, process)
            # One that was started from here and has not connected yet cannot be told to crash.
            await self._supervisor.kill(node)
        except asyncio.CancelledError:
            self._crashing.add(node)
            raise
        finally:
            if process is not None:
                process.close()
        self._paused.pop(node, None)
        self._crashing.discard(node)
        self._crashed.add(node)
        text = f"node {node} is dead; fixNode {node} starts it again" if up else f"node {node} was already down"
        return self._for_a_while(command, NodeResult(node=node, text=text), lambda: self._start_again(node))

    async def fix(self, command: FixNodeCommand) -> NodeResult:
        node = cast(int, command.node)
        if self.is_paused(node):
            return NodeResult(node=node, text=f"node {node} is up but paused: resumeNode {node} resumes it")
        text = f"node {node} is already up" if self._relay.is_up(node) else await self.start(node)
        self._cancel_timer(node)
        return NodeResult(node=node, text=text)

    async def _crash(self, node: int, process: LocalProcess | None) -> None:
        """Returns when the node is gone. Raises CommandError if it stays."""
        self._relay.crash(node)
        gone = await self._relay.wait_down(node, CRASH_S if process is not None else GONE_S)
        if process is not None:
            if not gone:
                process.send(signal.SIGKILL)
                gone = await self._relay.wait_down(node, GONE_S)
            gone = await process.gone(GONE_S) and gone
        if not gone:
            where = self._relay.host(node) or "its machine"
            raise CommandError(
                f"node {node} was told to crash but has not within {GONE_S:g} s: it may be stopped; on {where}, run "
                f"kill -9 on its process"
            )

    async def start(self, node: int, *, new: bool = False) -> str:
        """Returns when the node has connected. `new` as in `Supervisor.start`. Raises CommandError."""
        host = self._relay.last_host(node)
        if host is not None and not is_loopback(host):
            raise CommandError(f"node {node} ran on {host}, where its disk is: start it there")
        async with self._starting[node]:
            if self._relay.is_up(node):
                return f"node {node} is already up"
            where = await self._supervisor.start(node, new=new)
            await self._connected(node, where)
        self._crashing.discard(node)
        self._crashed.discard(node)
        return f"node {node} is up, {where}"

    async def _start_again(self, node: int) -> str | None:
        if self._relay.is_up(node):
            return None
        try:
            return await self.start(node)
        except CommandError as error:
            return str(error)

    async def _connected(self, node: int, where: str) -> None:
        """Returns when the node has connected. Raises CommandError if it does not."""
        up = asyncio.ensure_future(self._relay.wait_up(node, START_S))
        ended = asyncio.ensure_future(self._supervisor.ended(node))  # perhaps already
        await asyncio.wait([up, ended], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (up, ended):
            waiting.cancel()
        if self._relay.is_up(node):
            return
        problem = self._supervisor.failure(node)
        raise CommandError(problem or f"node {node} was started {where} but has not connected within {START_S:g} s")

    # ---- Pause and resume

    async def pause(self, command: PauseNodeCommand) -> NodeResult:
        node = cast(int, command.node)
        process_id = self._relay.process(node)
        if process_id is None:
            host = self._relay.host(node)
            raise CommandError(
                f"node {node} is down: fixNode {node} starts it" if host is None
                else f"node {node} runs on {host}; only processes on this machine can be paused"
            )
        if not _signal(process_id, node, signal.SIGSTOP):
            raise CommandError(f"the process of node {node} cannot be paused (this needs Linux)")
        self._cancel_timer(node)
        self._paused[node] = process_id
        result = NodeResult(node=node, text=f"node {node} is paused: its process is stopped")
        return self._for_a_while(command, result, lambda: self._resume(node))

    async def resume(self, command: ResumeNodeCommand) -> NodeResult:
        node = cast(int, command.node)
        text = await self._resume(node)
        if text is not None:
            self._cancel_timer(node)
        else:
            state = "is not paused" if self._relay.is_up(node) else f"is down: fixNode {node} starts it"
            text = f"node {node} {state}"
        return NodeResult(node=node, text=text)

    async def _resume(self, node: int) -> str | None:
        return f"node {node} goes on" if self._continue(node) else None

    def _continue(self, node: int) -> bool:
        """Resumes a paused process; one that was paused before this orchestrator's start is found by its lock."""
        process_id = self._paused.pop(node, None)
        if process_id is not None:
            return _signal(process_id, node, signal.SIGCONT)
        orphan = None if self._relay.is_up(node) else _lock_holder(self._data_dir / f"node-{node}.db.lock")
        return orphan is not None and _signal(orphan, node, signal.SIGCONT)

    # ---- Temporary faults

    def _cancel_timer(self, node: int) -> None:
        """A later command about the node replaces the automatic end of its fault."""
        self._timers.cancel(self._tokens.pop(node, None))

    def _for_a_while(self, command: FailNodeCommand | PauseNodeCommand, result: NodeResult, undo: Undo) -> NodeResult:
        """The result, after starting the timer if the command asks for one."""
        self._cancel_timer(result.node)  # another command about the node may have begun before this one and ended later
        if command.for_s is UNSET:
            return result
        name = "failNode" if isinstance(command, FailNodeCommand) else "pauseNode"
        token = self._tokens[result.node] = self._timers.token()
        self._timers.start(token, f"{name} {result.node}", command.for_s, undo, lambda: True)
        return msgspec.structs.replace(
            result, for_s=command.for_s, text=f"{result.text}, for {command.for_s:g} s"
        )


class _Holder(msgspec.Struct):
    os_pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


def _lock_holder(path: Path) -> int | None:
    """The process that holds, or last held, a node's disk."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Holder).os_pid
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def _signal(process_id: int, node: int, sign: signal.Signals) -> bool:
    """False if the process is not this node's."""
    process = LocalProcess.find(process_id, node)
    if process is None:
        return False
    process.send(sign)
    process.close()
    return True
