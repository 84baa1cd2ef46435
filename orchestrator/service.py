"""The operator's service: runs the operator's commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from msgspec import UNSET

from api import operator_commands as commands
from api.base import Command, Event, Failure, R_co, name_of
from api.errors import InvalidCommand
from api.lost_quorum import no_quorum
from api.operator_events import (
    ClusterQuorumLostEvent,
    ConnectionRefusedEvent,
    FaultOverEvent,
    NodeDownEvent,
    NodeUpEvent,
)
from api.operator_results import HistoryResult, NetworkStatusResult, SleepResult, TextResult
from api.safe_text import one_line
from config.config import Config
from net.relay.faults import Faults
from net.relay.holding import HeldMessage
from net.relay.refusals import RefusalNotice
from net.relay.relay import Relay
from net.relay.served_cluster import KnownCluster
from net.tls import TlsContexts
from orchestrator.errors import CommandError
from orchestrator.explanations import Explanations
from orchestrator.fault_history import FaultHistory, words_of
from orchestrator.fault_words import sentence
from orchestrator.happenings import Happenings
from orchestrator.link_faults import LinkFaults
from orchestrator.live_view import LiveView
from orchestrator.members_notice import MembersNotice
from orchestrator.membership import Membership
from orchestrator.memory import is_remembered, remember, remembered
from orchestrator.node_client import NodeClient
from orchestrator.node_faults import NodeFaults
from orchestrator.node_numbers import NodeNumbers
from orchestrator.rates import Rates
from orchestrator.script import LineParser, Scripts
from orchestrator.status import SURVIVORS, lost_voters, network_status
from orchestrator.step_mode import StepMode
from orchestrator.supervisor import Supervisor
from orchestrator.timers import Timers
from orchestrator.user_commands import UserCommands
from orchestrator.waiting import Waiting
from orchestrator.watch import Watch

_log = logging.getLogger(__name__)

SAMPLE_S = 1.0
MAX_REASON = 500
"""Characters, in one line, of why a connection was refused."""

Emit: TypeAlias = Callable[[Event], None]
Handlers: TypeAlias = Mapping[type[Command[Any]], Callable[[Any], Awaitable[Any]]]
"""Runs the commands of one type."""


class Orchestrator:
    """Runs the operator's commands against a relay, and listens to it. Events go to `emit`; `parse` understands
    the lines of scripts. `interactive`: a person sees what happens, `watch` included, as it happens."""

    def __init__(
        self, config: Config, emit: Emit, parse: LineParser, *, random: Random | None = None,
        supervisor: Supervisor | None = None, interactive: bool = False, tls: TlsContexts | None = None,
    ) -> None:
        self._to_operator = emit
        self._listeners: list[Emit] = []
        emit = self._emit
        self._happenings = Happenings(self._tell)
        self._endpoint = config.orchestrator
        self._supervisor = supervisor if supervisor is not None else Supervisor(config.path, config.data_dir)
        self._rates = Rates()
        self._history = FaultHistory()
        self._timers = Timers(self._fault_over)
        self._sampling: asyncio.TimerHandle | None = None
        self._lost: list[int] = []
        """Voters without disks, if no quorum can form."""
        self.faults = Faults(random if random is not None else Random())
        self._config = config
        self._members_notice = MembersNotice(config.cluster, config.node_ids, emit)
        known = remembered(config.data_dir, config.cluster)
        self._remembers = known.cluster_id != 0
        """The cluster's id is in a file; who founds another cluster here deletes it."""
        self._steps = StepMode(lambda: self.relay.holding, emit)
        self.relay = Relay(
            cluster=config.cluster, nodes=config.node_ids, secret=config.secret, faults=self.faults, listener=self,
            known=known, tls=tls,
        )
        client = NodeClient(config.data_dir)
        self._waiting = Waiting(self.relay, client, self._history.since_last)
        self.numbers = NodeNumbers(lambda: self.relay.nodes, self._waiting.find_leader)
        self._links = LinkFaults(self.numbers, self.faults, self._timers)
        self._nodes = NodeFaults(self.relay, self._supervisor, self._timers, config.data_dir)
        self._membership = Membership(self.relay, self.numbers, client, self._waiting, self._nodes)
        self._explanations = Explanations(
            lambda: [node for node in self.numbers.all if self.relay.is_up(node)], client
        )
        self._users = UserCommands(self.numbers, client, emit)
        self.scripts = Scripts(self, parse, emit, interactive)
        self.live = LiveView(lambda: self.relay, self.status, self.scripts.playing, self._happenings.on_message)
        self.watch = Watch(interactive, self.status, emit)
        self._handlers = self._all_handlers()

    def _all_handlers(self) -> Handlers:
        links, nodes, users, steps = self._links, self._nodes, self._users, self._steps
        return {
            commands.FailLinkCommand: links.fail_link, commands.FixLinkCommand: links.fix_link,
            commands.IsolateCommand: links.isolate, commands.PartitionCommand: links.partition,
            commands.HealCommand: links.heal, commands.DelayCommand: links.delay, commands.LossCommand: links.loss,
            commands.DuplicateCommand: links.duplicate, commands.DupCommand: links.duplicate,
            commands.ReorderCommand: links.reorder, commands.BandwidthCommand: links.bandwidth,
            commands.SeedCommand: links.seed,
            commands.HoldCommand: steps.hold, commands.HeldCommand: steps.held, commands.StepCommand: steps.step,
            commands.DeliverCommand: steps.deliver, commands.RepeatCommand: steps.repeat,
            commands.DropCommand: steps.drop, commands.SlowCommand: steps.slow, commands.ReleaseCommand: steps.release,
            commands.FailNodeCommand: nodes.fail, commands.FixNodeCommand: nodes.fix,
            commands.PauseNodeCommand: nodes.pause, commands.ResumeNodeCommand: nodes.resume,
            commands.AddNodeCommand: self._membership.add, commands.RemoveNodeCommand: self._membership.remove,
            commands.ReplaceNodeCommand: self._membership.replace,
            commands.FixAllCommand: self._fix_all, commands.ResetCommand: self._fix_all,
            commands.NetworkStatusCommand: self._status,
            commands.ExplainAllCommand: self._explanations.switch,
            commands.WatchCommand: self.watch.switch, commands.HistoryCommand: self._show_history,
            commands.ScriptCommand: self.scripts.run, commands.StopCommand: self.scripts.stop,
            commands.PauseCommand: self.scripts.pause, commands.NextCommand: self.scripts.next,
            commands.ContinueCommand: self.scripts.resume,
            commands.WaitCommand: self._waiting.wait, commands.SleepCommand: self._sleep,
            commands.SayCommand: self._say, commands.NodeCommand: users.at_node, commands.LoadCommand: users.load,
        }

    async def start(self, port: int | None = None) -> int:
        """Listens, on the configured port if `port` is None; returns the port. Raises OSError."""
        bound = await self.relay.start(self._endpoint.host, self._endpoint.port if port is None else port)
        self._nodes.started()
        self._sample()
        return bound

    def announce(self) -> None:
        """Tells of remembered members that are not those of the configuration file."""
        self._members_notice.known(self.relay.known)

    async def close(self) -> None:
        """Closes the network; nodes started in the background exit with their orchestrator."""
        if self._sampling is not None:
            self._sampling.cancel()
        self.live.stop()
        self.watch.stop()
        await self.scripts.close()
        await self._users.close()
        await self._timers.close()
        self._nodes.close()
        await self._supervisor.close()
        await self.relay.close()

    async def execute(self, command: Command[R_co], by: str = "operator") -> R_co | Failure:
        """The command's result. Raises InvalidCommand for an invalid one, which has changed nothing. `by` is
        for the history."""
        self.check(command)
        words = ""
        try:
            if not isinstance(command, commands.FaultCommand):
                return cast(R_co, await self._handlers[type(command)](command))
            numbered: commands.FaultCommand[R_co] = await self.numbers.resolve(command)
            self.check(numbered)
            words = words_of(numbered)
            self._happenings.on_fault(sentence(numbered), by)  # before what comes of it
            result = cast(R_co, await self._handlers[type(command)](numbered))
        except CommandError as error:
            if words:
                self._happenings.on_failure(words, str(error))
            return Failure(error=str(error))
        self._history.note(words, by)
        self.live.changed()
        return result

    @property
    def command_kinds(self) -> Iterable[type[Command[Any]]]:
        """The kinds of commands that there are."""
        return self._handlers

    def check(self, command: Command[Any], changed: Mapping[int, bool] = MappingProxyType({})) -> None:
        """Raises InvalidCommand if the command is invalid whichever node leads when it is run. `changed` says which
        nodes will have been added by then (True), or removed (False)."""
        if type(command) not in self._handlers:
            raise InvalidCommand(f"unknown command '{name_of(type(command))}'")
        self.numbers.check(command, changed)

    def status(self) -> NetworkStatusResult:
        """The network and its nodes."""
        paused = [node for node in self.numbers.all if self._nodes.is_paused(node)]
        return network_status(
            self.numbers.all, self.relay, self._rates, paused, self._links.last_seed, self._timers.running()
        )

    def listen(self, listener: Emit) -> None:
        """`listener` gets all events from now on, and what happens in the cluster in words (`happened`)."""
        self._listeners.append(listener)

    # ---- Events from the relay

    def on_node_up(self, node: int) -> None:
        self._emit(NodeUpEvent(node))
        self.live.changed()

    def on_node_down(self, node: int) -> None:
        self._emit(NodeDownEvent(node))
        self._look_at_leader()
        self.live.changed()

    def on_report(self, node: int) -> None:
        self._look_at_leader()
        self.live.changed()

    def _look_at_leader(self) -> None:
        leader = self._waiting.leader()
        report = None if leader is None else self.relay.report_of(leader)
        self._happenings.on_leader(leader, report, self.relay.members)

    def on_cluster(self, known: KnownCluster) -> None:
        try:
            remember(self._config.data_dir, self._config.cluster, known)
            self._remembers = True
        except OSError as error:
            _log.warning("the cluster's id and members cannot be remembered: %s", error)
        self._members_notice.known(known)

    def on_held(self, message: HeldMessage) -> None:
        self._steps.noted(message)

    def on_refused(self, notice: RefusalNotice) -> None:
        address = UNSET if notice.address is None else notice.address
        count = UNSET if notice.count is None else notice.count
        reason = one_line(notice.reason, MAX_REASON)  # a stranger may have written it
        self._emit(ConnectionRefusedEvent(notice.code, reason, address, count))

    # ---- Commands other than faults

    async def _status(self, command: commands.NetworkStatusCommand) -> NetworkStatusResult:
        return self.status()

    async def _fix_all(self, command: commands.FixAllCommand | commands.ResetCommand) -> TextResult:
        self._timers.clear()
        self.faults.reset()
        self.relay.holding.stop()  # what goes on now meets no fault any more
        self.relay.release_delayed()
        return TextResult(text="; ".join(["all faults are removed", *await self._nodes.reset()]))

    async def _show_history(self, command: commands.HistoryCommand) -> HistoryResult:
        return HistoryResult(entries=self._history.last(command.count))

    async def _sleep(self, command: commands.SleepCommand) -> SleepResult:
        await asyncio.sleep(command.seconds)
        return SleepResult(slept_s=command.seconds, text=f"slept for {command.seconds:g} s")

    async def _say(self, command: commands.SayCommand) -> TextResult:
        return TextResult(text=command.text)

    # ---- Automatic events

    def _emit(self, event: Event) -> None:
        self._happenings.on_event(event)
        self._to_operator(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def _fault_over(self, event: FaultOverEvent, words: str) -> None:
        self._history.note(event.text, "timer")
        self._happenings.on_fault(words, "timer")
        self._emit(event)

    def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        self._rates.sample({node: self.relay.traffic(node) for node in self.numbers.all}, loop.time())
        self._sampling = loop.call_later(SAMPLE_S, self._sample)
        self._look_at_leader()
        if self._remembers and not is_remembered(self._config.data_dir):
            self._remembers = False
            self.relay.reopen()
        lost, voters = lost_voters(self.relay)
        if lost != self._lost:
            self._lost = lost
            if lost:
                self._emit(ClusterQuorumLostEvent(lost, voters, no_quorum(lost, voters, SURVIVORS)))
