"""What the operator of the network can do: fail and fix links and nodes, slow the network down, look at it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random

from console import Command, Result, Usage
from net.faults import Faults, Link
from net.notices import Emit
from net.relay import Relay
from net.sockets import is_loopback
from runtime.config import Config
from runtime.local_process import LocalProcess
from runtime.network_view import cut_words
from runtime.revival import Revival, RevivalError

CRASH_S = 0.3
"""A node that has not obeyed a crash by then may be stopped; it is killed from outside if possible."""
GONE_S = 5.0
START_S = 10.0
SETTLE_S = 3.0
"""So long after its own start, a node that is not connected may only be on its way back."""

MAX_DELAY_MS = 600_000.0

ONE_WAY = "--oneway"

USAGES = [
    Usage("failLink", "A B [--oneway]", "cut the link between A and B, or only from A to B", "failLink 1 2", 2, 3),
    Usage("fixLink", "A B [--oneway]", "mend it again", "fixLink 1 2", 2, 3),
    Usage("failNode", "N", "crash node N: it dies at once, nothing flushed", "failNode 3", 1, 1),
    Usage("fixNode", "N", "start node N again, in its own pane", "fixNode 3", 1, 1),
    Usage(
        "partition", "1,2|3,4,5", "cut exactly the links between these groups", "partition 1,2|3,4,5", 1, 1, text=True
    ),
    Usage("heal", "", "mend all links; delay and loss stay", "heal"),
    Usage("delay", "MS [JITTER]", "make every message late, by up to JITTER ms more", "delay 100 20", 1, 2),
    Usage("loss", "PERCENT", "lose so many of the messages", "loss 5", 1, 1),
    Usage("duplicate", "PERCENT", "deliver so many of the messages twice", "duplicate 5", 1, 1),
    Usage("reorder", "PERCENT", "let so many of the messages be overtaken", "reorder 5", 1, 1),
    Usage("status", "", "the nodes, as they report, and the network", "status", at_once=True),
]


class CommandError(Exception):
    """A command that makes no sense; says what would. Nothing has changed."""


class Orchestrator:
    """Carries out the operator's commands against a relay. Events go to `emit`: those of the relay."""

    def __init__(
        self, config: Config, emit: Emit, *, random: Random | None = None, revival: Revival | None = None
    ) -> None:
        self._nodes = config.node_ids
        self._endpoint = config.orchestrator
        self._revival = revival if revival is not None else Revival(config.path, config.data_dir)
        self.faults = Faults(random if random is not None else Random())
        self.relay = Relay(
            cluster=config.cluster, nodes=self._nodes, secret=config.secret, faults=self.faults, emit=emit
        )
        self._started = 0.0
        self._commands: dict[str, Callable[[list[str]], Awaitable[Result]]] = {
            "failLink": self._fail_link,
            "fixLink": self._fix_link,
            "failNode": self._fail_node,
            "fixNode": self._fix_node,
            "partition": self._partition,
            "heal": self._heal,
            "delay": self._delay,
            "loss": self._loss,
            "duplicate": self._duplicate,
            "reorder": self._reorder,
            "status": self._status,
        }

    async def start(self, port: int | None = None) -> int:
        """Listens, on the configured port if `port` is None; returns the port. Raises OSError."""
        bound = await self.relay.start(self._endpoint.host, self._endpoint.port if port is None else port)
        self._started = asyncio.get_running_loop().time()
        return bound

    async def close(self) -> None:
        """Nodes started in the background leave with their orchestrator."""
        await self._revival.close()
        await self.relay.close()

    async def execute(self, command: str, args: list[str]) -> Result:
        """The result of one command: `ok`, `error` if not ok, `text` for humans, and what belongs to the command.
        `command` is one of USAGES; never raises for anything that a user can type."""
        try:
            return {"ok": True, **await self._commands[command](args)}
        except (CommandError, RevivalError) as error:
            return {"ok": False, "error": str(error)}

    def waiting_for(self, command: Command) -> str:
        """Why a command has not answered yet."""
        if command.name == "fixNode":
            return f"node {' '.join(command.args)} has not connected yet"
        return f"node {' '.join(command.args)} has not died yet" if command.name == "failNode" else "not done yet"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        """What may be typed next, after these words."""
        name, *args = words
        links = name in ("failLink", "fixLink")
        if (links and len(args) < 2) or (name in ("failNode", "fixNode") and not args):
            return [str(node) for node in self._nodes if str(node) not in args]
        return [ONE_WAY] if links and len(args) == 2 else []

    def status_line(self) -> str:
        """The network at a glance."""
        up = [str(node) for node in self._nodes if self.relay.is_up(node)]
        faults = self._fault_words()
        return f"up: {' '.join(up) or 'none'} | {', '.join(faults) if faults else 'no faults'}"

    # ---- Links

    async def _fail_link(self, args: list[str]) -> Result:
        links, words = self._links(args, "failLink")
        self.faults.fail(*links)
        return self._links_now(f"failed: {words}")

    async def _fix_link(self, args: list[str]) -> Result:
        links, words = self._links(args, "fixLink")
        self.faults.fix(*links)
        return self._links_now(f"works: {words}")

    async def _partition(self, args: list[str]) -> Result:
        parts = [re.split(r"[,\s]+", part) for part in " ".join(args).split("|")]
        groups = [[self._node(word, "partition 1,2|3,4,5") for word in part if word] for part in parts]
        named = [node for group in groups for node in group]
        example = "for example: partition 1,2|3,4,5"
        twice = sorted({node for node in named if named.count(node) > 1})
        missing = [node for node in self._nodes if node not in named]
        if twice:
            raise CommandError(f"{_those(twice)} more than once: each node belongs to one group, {example}")
        if missing:
            raise CommandError(f"{_those(missing)} in no group: each node belongs to one group, {example}")
        if len(groups) < 2 or not all(groups):
            raise CommandError(f"at least two groups are needed, with | between them, {example}")
        self.faults.partition(groups)
        return {"groups": groups, **self._links_now("the groups hear each other no more; inside them all links work")}

    async def _heal(self, args: list[str]) -> Result:
        self.faults.heal()
        rest = self._fault_words()
        return self._links_now("all links work" + (f" (still on: {', '.join(rest)})" if rest else ""))

    def _links(self, args: list[str], name: str) -> tuple[list[Link], str]:
        """The directed links that these arguments name, and their description."""
        example = f"{name} 1 2"
        flags = [word for word in args if word.startswith("--")]
        for flag in flags:
            if flag.lower() != ONE_WAY:
                raise CommandError(f"'{flag[:40]}' is not known here, for example: {example} {ONE_WAY}")
        numbers = [word for word in args if not word.startswith("--")]
        if len(numbers) != 2:
            raise CommandError(f"a link has two ends, for example: {example}")
        a, b = (self._node(word, example) for word in numbers)
        if a == b:
            raise CommandError(f"node {a} has no link to itself, for example: {example}")
        if flags:
            return [(a, b)], f"{a} -> {b}, this direction only"
        return [(a, b), (b, a)], f"{a} <-> {b}"

    def _links_now(self, text: str) -> Result:
        return {"links": [list(link) for link in self.faults.cut], "text": text}

    # ---- Nodes

    async def _fail_node(self, args: list[str]) -> Result:
        node = self._node(args[0] if args else "", "failNode 3")
        settled = self._started + SETTLE_S - asyncio.get_running_loop().time()
        up = await self.relay.wait_up(node, max(settled, 0))
        process_id = self.relay.process(node)
        process = None if process_id is None else LocalProcess.find(process_id, node)
        try:
            if up:
                await self._crash(node, process)
            # One that was started from here and has not connected yet cannot be told to die.
            await self._revival.kill(node)
        finally:
            if process is not None:
                process.close()
        return {"node": node, "text": f"node {node} is down" if up else f"node {node} was down already"}

    async def _crash(self, node: int, process: LocalProcess | None) -> None:
        """Returns when the node is gone. Raises CommandError if it will not go."""
        self.relay.crash(node)
        gone = await self.relay.wait_down(node, CRASH_S if process is not None else GONE_S)
        if process is not None:
            if not gone:
                process.kill()
                gone = await self.relay.wait_down(node, GONE_S)
            gone = await process.gone(GONE_S) and gone
        if not gone:
            where = self.relay.host(node) or "its machine"
            raise CommandError(
                f"node {node} has been told to die and has not within {GONE_S:g} s: it may be stopped; on {where}, "
                f"kill -9 its process"
            )

    async def _fix_node(self, args: list[str]) -> Result:
        node = self._node(args[0] if args else "", "fixNode 3")
        if self.relay.is_up(node):
            return {"node": node, "text": f"node {node} is already up"}
        home = self.relay.last_host(node)
        if home is not None and not is_loopback(home):
            raise CommandError(f"node {node} ran on {home}: its disk is there, so start it there")
        where = await self._revival.start(node)
        await self._connected(node, where)
        return {"node": node, "text": f"node {node} is up, {where}"}

    async def _connected(self, node: int, where: str) -> None:
        """Returns when the node has connected. Raises CommandError if it will not."""
        up = asyncio.ensure_future(self.relay.wait_up(node, START_S))
        ended = asyncio.ensure_future(self._revival.ended(node) if self._revival.child(node) else up)
        await asyncio.wait([up, ended], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (up, ended):
            waiting.cancel()
        if self.relay.is_up(node):
            return
        problem = self._revival.failure(node)
        raise CommandError(problem or f"node {node} was started {where}, and has not connected within {START_S:g} s")

    # ---- The network

    async def _delay(self, args: list[str]) -> Result:
        example = "delay 100 20"
        delay, *jitter = [_number(word, MAX_DELAY_MS, "milliseconds", example) for word in args[:2] or [""]]
        self.faults.set_delay(delay / 1000, sum(jitter) / 1000)
        more = f" to {delay + jitter[0]:g}" if jitter and jitter[0] else ""
        return {"delay_ms": delay, "jitter_ms": sum(jitter), "text": f"every message is {delay:g}{more} ms late"}

    async def _loss(self, args: list[str]) -> Result:
        percent = _percent(args, "loss 5")
        self.faults.set_loss(percent)
        return {"loss_percent": percent, "text": f"{percent:g} % of all messages get lost"}

    async def _duplicate(self, args: list[str]) -> Result:
        percent = _percent(args, "duplicate 5")
        self.faults.set_duplicates(percent)
        return {"duplicate_percent": percent, "text": f"{percent:g} % of all messages arrive twice"}

    async def _reorder(self, args: list[str]) -> Result:
        percent = _percent(args, "reorder 5")
        self.faults.set_reordering(percent)
        return {"reorder_percent": percent, "text": f"{percent:g} % of all messages may be overtaken"}

    async def _status(self, args: list[str]) -> Result:
        faults = self.faults
        return {
            "nodes": [self._node_status(node) for node in self._nodes],
            "links": [list(link) for link in faults.cut],
            "delay_ms": faults.general.delay_s * 1000,
            "jitter_ms": faults.general.jitter_s * 1000,
            "loss_percent": faults.general.loss_percent,
            "duplicate_percent": faults.general.duplicate_percent,
            "reorder_percent": faults.general.reorder_percent,
        }

    def _node_status(self, node: int) -> Result:
        """Counters are the relay's: `in` is from the node. The rest is what a connected node last said of itself."""
        report = self.relay.report_of(node)
        traffic = self.relay.traffic(node)
        return {
            "node": node,
            "up": self.relay.is_up(node),
            "role": report.role if report else None,
            "leader": report.leader if report else None,
            "ballot": list(report.ballot) if report else None,
            "decided": report.decided if report else None,
            "applied": report.applied if report else None,
            "queued": report.queued if report else None,
            "digest": report.digest if report else None,
            "frames_in": traffic.frames_in,
            "frames_out": traffic.frames_out,
            "bytes_in": traffic.bytes_in,
            "bytes_out": traffic.bytes_out,
            "dropped": traffic.dropped,
        }

    def _fault_words(self) -> list[str]:
        faults = self.faults
        words = []
        if faults.cut:
            words.append(f"failed links: {cut_words(faults.cut)}")
        if faults.general.delay_s or faults.general.jitter_s:
            jitter = f" + {faults.general.jitter_s * 1000:g}" if faults.general.jitter_s else ""
            words.append(f"delay {faults.general.delay_s * 1000:g}{jitter} ms")
        for name, percent in (
            ("loss", faults.general.loss_percent), ("duplicate", faults.general.duplicate_percent), ("reorder", faults.general.reorder_percent)
        ):
            if percent:
                words.append(f"{name} {percent:g} %")
        return words

    def _node(self, word: str, example: str) -> int:
        known = f"the nodes are {', '.join(map(str, self._nodes))}, for example: {example}"
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise CommandError(f"'{word[:40]}' is not the number of a node: {known}")
        if int(word) not in self._nodes:
            raise CommandError(f"there is no node {int(word)}: {known}")
        return int(word)


def _those(nodes: list[int]) -> str:
    return f"node {nodes[0]} is" if len(nodes) == 1 else f"nodes {', '.join(map(str, nodes))} are"


def _number(word: str, most: float, unit: str, example: str) -> float:
    """A number from 0 to `most`. Raises CommandError."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise CommandError(f"'{word[:40]}' must be {unit}, from 0 to {most:.15g}, for example: {example}")
    return value


def _percent(args: list[str], example: str) -> float:
    return _number(args[0].removesuffix("%") if args else "", 100, "a percentage", example)
