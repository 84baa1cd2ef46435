"""The operator's faults of nodes: crashed and started again, paused and resumed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from console import Result
from net.relay.relay import Relay
from net.sockets import is_loopback
from orchestrator.local_process import LocalProcess
from orchestrator.supervisor import Supervisor, SupervisorError
from orchestrator.timers import Timers, Undo
from orchestrator.words import FOR, Action, CommandError, Flags, Nodes, split_flags

CRASH_S = 0.3
"""A node that has not obeyed a crash by then may be stopped; it is killed from outside if possible."""
GONE_S = 5.0
START_S = 30.0
"""Five at once on a busy machine take a while."""
SETTLE_S = 3.0
"""So long after its own start, a node that is not connected may only be on its way back."""


class NodeCommands:
    def __init__(self, nodes: Nodes, relay: Relay, revival: Supervisor, timers: Timers, data_dir: Path) -> None:
        self._nodes = nodes
        self._relay = relay
        self._revival = revival
        self._timers = timers
        self._data_dir = data_dir
        self._started = 0.0
        self._paused: dict[int, int] = {}
        """Node -> the number of its stopped process."""
        self._crashed: set[int] = set()
        """By `failNode`, and not started again from here."""
        self._tokens: dict[int, int] = {}
        """Node -> the fault that will end by itself."""
        self.planners: dict[str, Callable[[list[str]], Action]] = {
            "failNode": self._fail,
            "fixNode": self._fix,
            "pauseNode": self._pause,
            "resumeNode": self._resume,
        }

    def started(self) -> None:
        """The relay listens from now on."""
        self._started = asyncio.get_running_loop().time()

    def is_paused(self, node: int) -> bool:
        return node in self._paused and self._relay.process(node) == self._paused[node]

    async def reset(self) -> list[str]:
        """Resumes what is paused and starts what was crashed; returns what is so now, in words. Raises CommandError if
        a node did not come up."""
        for token in self._tokens.values():
            self._timers.cancel(token)
        self._tokens.clear()
        paused = [node for node in list(self._paused) if self._let_go(node)]
        words = [f"{_nodes(paused)} going on"] if paused else []
        crashed = sorted(node for node in self._crashed if not self._relay.is_up(node))
        self._crashed.clear()
        results = await asyncio.gather(*(self._start(node) for node in crashed), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, (CommandError, SupervisorError)):
                raise failure
        if failures:
            raise CommandError("no faults of links any more, but: " + "; ".join(map(str, failures)))
        return [*words, f"{_nodes(crashed)} up again"] if crashed else words

    def close(self) -> None:
        """Nobody would resume the paused ones later."""
        for node in list(self._paused):
            self._let_go(node)

    # ---- Crash and start

    def _fail(self, args: list[str]) -> Action:
        flags = split_flags(args, "failNode 3", allowed=(FOR,))
        node = self._nodes.single(flags.words, "failNode 3")

        async def act() -> Result:
            self._overrule(node)
            settled = self._started + SETTLE_S - asyncio.get_running_loop().time()
            up = await self._relay.wait_up(node, max(settled, 0))
            process_id = self._relay.process(node)
            process = None if process_id is None else LocalProcess.find(process_id, node)
            try:
                if up:
                    await self._crash(node, process)
                # One that was started from here and has not connected yet cannot be told to die.
                await self._revival.kill(node)
            finally:
                if process is not None:
                    process.close()
            self._paused.pop(node, None)
            self._crashed.add(node)
            text = f"node {node} is dead; fixNode {node} starts it again" if up else f"node {node} was down already"
            return self._timed(node, "failNode", flags, {"node": node, "text": text}, lambda: self._start_again(node))

        return act

    async def _crash(self, node: int, process: LocalProcess | None) -> None:
        """Returns when the node is gone. Raises CommandError if it will not go."""
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
                f"node {node} has been told to die and has not within {GONE_S:g} s: it may be stopped; on {where}, "
                f"kill -9 its process"
            )

    def _fix(self, args: list[str]) -> Action:
        node = self._nodes.single(args, "fixNode 3")

        async def act() -> Result:
            self._overrule(node)
            if self.is_paused(node):
                return {"node": node, "text": f"node {node} is up, and paused: resumeNode {node} lets it go on"}
            if self._relay.is_up(node):
                return {"node": node, "text": f"node {node} is already up"}
            return {"node": node, "text": await self._start(node)}

        return act

    async def _start(self, node: int) -> str:
        """Returns when the node has connected. Raises CommandError, SupervisorError."""
        home = self._relay.last_host(node)
        if home is not None and not is_loopback(home):
            raise CommandError(f"node {node} ran on {home}: its disk is there, so start it there")
        where = await self._revival.start(node)
        await self._connected(node, where)
        self._crashed.discard(node)
        return f"node {node} is up, {where}"

    async def _start_again(self, node: int) -> str | None:
        if self._relay.is_up(node):
            return None
        try:
            return await self._start(node)
        except (CommandError, SupervisorError) as error:
            return str(error)

    async def _connected(self, node: int, where: str) -> None:
        """Returns when the node has connected. Raises CommandError if it will not."""
        up = asyncio.ensure_future(self._relay.wait_up(node, START_S))
        ended = asyncio.ensure_future(self._revival.ended(node) if self._revival.child(node) else up)
        await asyncio.wait([up, ended], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (up, ended):
            waiting.cancel()
        if self._relay.is_up(node):
            return
        problem = self._revival.failure(node)
        raise CommandError(problem or f"node {node} was started {where}, and has not connected within {START_S:g} s")

    # ---- Pause and resume

    def _pause(self, args: list[str]) -> Action:
        flags = split_flags(args, "pauseNode 3", allowed=(FOR,))
        node = self._nodes.single(flags.words, "pauseNode 3")

        async def act() -> Result:
            self._overrule(node)
            number = self._relay.process(node)
            if number is None:
                where = self._relay.host(node)
                raise CommandError(
                    f"node {node} is down: fixNode {node} starts it" if where is None
                    else f"node {node} runs on {where}, and only processes of this machine can be paused"
                )
            if not _signal(number, node, signal.SIGSTOP):
                raise CommandError(f"the process of node {node} cannot be paused here (this needs Linux)")
            self._paused[node] = number
            result = {"node": node, "text": f"node {node} is paused: its process stands still"}
            return self._timed(node, "pauseNode", flags, result, lambda: self._go_on(node))

        return act

    def _resume(self, args: list[str]) -> Action:
        node = self._nodes.single(args, "resumeNode 3")

        async def act() -> Result:
            self._overrule(node)
            if await self._go_on(node) is None:
                state = "is not paused" if self._relay.is_up(node) else f"is down: fixNode {node} starts it"
                return {"node": node, "text": f"node {node} {state}"}
            return {"node": node, "text": f"node {node} goes on"}

        return act

    async def _go_on(self, node: int) -> str | None:
        return f"node {node} goes on" if self._let_go(node) else None

    def _let_go(self, node: int) -> bool:
        """Lets a paused process go on; one that was paused before this orchestrator's start is found by its lock."""
        number = self._paused.pop(node, None)
        if number is not None:
            return _signal(number, node, signal.SIGCONT)
        orphan = None if self._relay.is_up(node) else _lock_holder(self._data_dir / f"node-{node}.db.lock")
        return orphan is not None and _signal(orphan, node, signal.SIGCONT)

    # ---- For a while

    def _overrule(self, node: int) -> None:
        """Whatever would have ended by itself is this command's business now."""
        self._timers.cancel(self._tokens.pop(node, None))

    def _timed(self, node: int, name: str, flags: Flags, result: Result, undo: Undo) -> Result:
        if flags.seconds is None:
            return result
        token = self._tokens[node] = self._timers.token()
        self._timers.start(token, f"{name} {node}", flags.seconds, undo, lambda: True)
        return {**result, "for_s": flags.seconds, "text": f"{result['text']}, for {flags.seconds:g} s"}


def _nodes(numbers: list[int]) -> str:
    return f"node {numbers[0]} is" if len(numbers) == 1 else f"nodes {', '.join(map(str, numbers))} are"


class _Holder(msgspec.Struct):
    os_pid: int


def _lock_holder(path: Path) -> int | None:
    """The process that has, or last had, a node's disk."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Holder).os_pid
    except (OSError, msgspec.MsgspecError):
        return None


def _signal(number: int, node: int, sign: signal.Signals) -> bool:
    process = LocalProcess.find(number, node)
    if process is None:
        return False
    process.send(sign)
    process.close()
    return True
