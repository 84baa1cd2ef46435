"""What the operator of the network can do. The commands are in orchestrator/; here they come together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, TypeAlias

from api.safe_text import one_line
from config.config import Config
from console import Command, Result, by_name
from console.operator_commands import USAGES
from console.operator_views import cut_words
from net.relay.faults import Faults
from net.relay.refusals import RefusalNotice
from net.relay.relay import Relay
from orchestrator import links
from orchestrator.fault_history import SHOWN, FaultHistory
from orchestrator.links import LinkCommands
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.nodes import NodeCommands
from orchestrator.rates import Rates
from orchestrator.script import Scripts
from orchestrator.status import network_status
from orchestrator.supervisor import Supervisor, SupervisorError
from orchestrator.timers import Timers
from orchestrator.users import UserCommands
from orchestrator.waiting import Waiting
from orchestrator.watch import Watch
from orchestrator.words import FOR, LEADER, ONE_WAY, Action, CommandError, Nodes, duration, whole

__all__ = ["USAGES", "Orchestrator"]

SAMPLE_S = 1.0
STATUS_CHARS = 400
SHORT_LIST = 4
"""So many failed links are named in the status line."""

Emit: TypeAlias = Callable[[dict[str, Any]], None]


class Orchestrator:
    """Carries out the operator's commands against a relay. Events go to `emit`: those of the relay, `fault_over` when
    a fault for a while ends, `step` and `step_result` of a script, `status` while watching. `live` says that `watch`
    is a panel that somebody draws."""

    def __init__(
        self, config: Config, emit: Emit, *, random: Random | None = None, revival: Supervisor | None = None,
        live: bool = False,
    ) -> None:
        self._emit = emit
        self._endpoint = config.orchestrator
        self._revival = revival if revival is not None else Supervisor(config.path, config.data_dir)
        self._rates = Rates()
        self._diary = FaultHistory()
        self._timers = Timers(self._over)
        self._client = NodeClient(config.data_dir)
        self._sampling: asyncio.TimerHandle | None = None
        self.faults = Faults(random if random is not None else Random())
        self.relay = Relay(
            cluster=config.cluster, nodes=config.node_ids, secret=config.secret, faults=self.faults, listener=self
        )
        self._nodes = Nodes(config.node_ids, lambda: self._waiting.whoever_leads())
        self._waiting = Waiting(self._nodes, self.relay, self._client)
        self._links = LinkCommands(self._nodes, self.faults, self._timers)
        self._node_faults = NodeCommands(self._nodes, self.relay, self._revival, self._timers, config.data_dir)
        self._users = UserCommands(self._nodes, self._client, emit)
        self._scripts = Scripts(self, by_name(USAGES), emit, unhurried=live)
        self.watch = Watch(live, self.status, emit)
        self._fault_planners: dict[str, Callable[[list[str]], Action]] = {
            **self._links.planners, **self._node_faults.planners, "reset": lambda args: self._reset
        }
        self._planners: dict[str, Callable[[list[str]], Action]] = {
            **self._fault_planners, "status": lambda args: self._status, "watch": self.watch.plan,
            "log": self._plan_log, "script": self._scripts.plan, "stop": lambda args: self._stop,
            "wait": self._waiting.plan, "sleep": self._plan_sleep, "say": self._plan_say, **self._users.planners,
        }

    async def start(self, port: int | None = None) -> int:
        """Listens, on the configured port if `port` is None; returns the port. Raises OSError."""
        bound = await self.relay.start(self._endpoint.host, self._endpoint.port if port is None else port)
        self._node_faults.started()
        self._sample()
        return bound

    async def close(self) -> None:
        """Nodes started in the background leave with their orchestrator."""
        if self._sampling is not None:
            self._sampling.cancel()
        self.watch.stop()
        await self._users.close()
        await self._timers.close()
        self._node_faults.close()
        await self._revival.close()
        await self.relay.close()

    async def execute(self, command: str, args: list[str], by: str = "operator") -> Result:
        """The result of one command: `ok`, `error` if not ok, `text` for humans, and what belongs to the command.
        `command` is one of USAGES; never raises for anything that a user can type."""
        try:
            numbered = args
            if command in self._fault_planners:
                numbered = await self._nodes.substitute(args, f"{command} 3")
            result = {"ok": True, **await self._planners[command](numbered)()}
        except (CommandError, SupervisorError, NodeUnreachable) as error:
            return {"ok": False, "error": str(error)}
        if command in self._fault_planners and result["ok"]:
            self._diary.note(" ".join([command, *numbered]), by)
        return result

    def check(self, command: str, args: list[str]) -> None:
        """Raises CommandError if the command makes no sense, whoever leads when it is carried out."""
        self._planners[command](self._nodes.placeholder(args) if command in self._fault_planners else args)

    def waiting_for(self, command: Command) -> str:
        """Why a command has not answered yet."""
        match command.name:
            case "fixNode":
                return f"node {' '.join(command.args)} has not connected yet"
            case "failNode":
                return f"node {command.args[0]} has not died yet"
        if not self._scripts.playing:
            return "not done yet"
        if command.name == "script" and " ".join(command.args) == self._scripts.playing:
            return f"at {self._scripts.where or 'its end'} (stop ends it)"
        return f"script {self._scripts.playing} is running (stop ends it)"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        """What may be typed next, after these words."""
        name, *args = words
        left = [str(node) for node in self._nodes.numbers if str(node) not in args]
        if name == "script":
            return [] if args else self._scripts.names()
        if name == "wait":
            return [] if args else ["leader", "converged", "applied", "answers"]
        if name == "watch":
            return [] if args else ["on", "off"]
        if name in ("failNode", "pauseNode", "isolate", "fixNode", "resumeNode"):
            crash = name not in ("fixNode", "resumeNode")
            return ([*left, LEADER] if crash else left) if not args else [FOR] if crash and len(args) == 1 else []
        if name in ("failLink", "fixLink"):
            flags = [ONE_WAY, FOR] if name == "failLink" else [ONE_WAY]
            return left if len(args) < 2 else [flag for flag in flags if flag not in args]
        return []

    def status(self) -> Result:
        """The network and its nodes, ready for JSON."""
        paused = [node for node in self._nodes.numbers if self._node_faults.is_paused(node)]
        return {
            **network_status(self._nodes.numbers, self.relay, self._rates, paused),
            "seed": self._links.seed,
            "timers": self._timers.running(),
        }

    def status_line(self, width: int | None = None) -> str:
        """The network at a glance; in a narrow window, in fewer words."""
        up = [str(node) for node in self._nodes.numbers if self.relay.is_up(node)]
        faults = [f"failed links: {cut_words(self.faults.cut)}"] if self.faults.cut else []
        if len(self.faults.cut) > SHORT_LIST:
            faults = [f"{len(self.faults.cut)} links cut (both directions counted)"]
        faults += links.quality_words(self.faults)
        script = [f"script: {self._scripts.where}"] if self._scripts.where else []
        known = [f"up: {' '.join(up) or 'none'}", ", ".join(faults) if faults else "no faults"]
        line = " | ".join([*known, *(f"{running} (stop ends it)" for running in script)])
        if width is not None and len(line) > width:
            line = "|".join([*known, *script])
        return one_line(line, width or STATUS_CHARS)

    # ---- What the relay tells

    def on_node_up(self, node: int) -> None:
        self._emit({"event": "node_up", "node": node})

    def on_node_down(self, node: int) -> None:
        self._emit({"event": "node_down", "node": node})

    def on_refused(self, notice: RefusalNotice) -> None:
        told = {"event": "refused", "code": notice.code, "reason": notice.reason}
        more = {"address": notice.address, "count": notice.count}
        self._emit({**told, **{key: value for key, value in more.items() if value is not None}})

    # ---- Commands about no fault

    async def _status(self) -> Result:
        return self.status()

    async def _reset(self) -> Result:
        self._timers.clear()
        self.faults.reset()
        words = await self._node_faults.reset()
        return {"text": "; ".join(["no faults any more", *words])}

    async def _stop(self) -> Result:
        return self._scripts.stop()

    def _plan_log(self, args: list[str]) -> Action:
        count = whole(args[0], 1, "how many to show", "log 20") if args else SHOWN

        async def act() -> Result:
            return {"entries": self._diary.last(count)}

        return act

    def _plan_sleep(self, args: list[str]) -> Action:
        seconds = duration(args[0], "sleep 2s")

        async def act() -> Result:
            await asyncio.sleep(seconds)
            return {"slept_s": seconds, "text": f"{seconds:g} s are over"}

        return act

    def _plan_say(self, args: list[str]) -> Action:
        async def act() -> Result:
            return {"text": args[0]}

        return act

    # ---- What happens by itself

    def _over(self, event: dict[str, Any]) -> None:
        self._diary.note(str(event["text"]), "timer")
        self._emit(event)

    def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        self._rates.sample({node: self.relay.traffic(node) for node in self._nodes.numbers}, loop.time())
        self._sampling = loop.call_later(SAMPLE_S, self._sample)
