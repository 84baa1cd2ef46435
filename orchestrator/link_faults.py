"""The operator's link faults: cut, slow, lossy; permanent or temporary."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import UNSET, UnsetType

from api.operator_commands import (
    BandwidthCommand,
    DelayCommand,
    DupCommand,
    DuplicateCommand,
    FailLinkCommand,
    FaultCommand,
    FixLinkCommand,
    HealCommand,
    IsolateCommand,
    LinkQualityCommand,
    LossCommand,
    PartitionCommand,
    ReorderCommand,
    SeedCommand,
)
from api.operator_results import (
    BandwidthResult,
    DelayResult,
    DuplicateResult,
    IsolateResult,
    LinksResult,
    LossResult,
    PartitionResult,
    ReorderResult,
    SeedResult,
)
from net.relay.faults import ALL, Faults, Link
from net.relay.faults.bandwidth import Bandwidth
from net.relay.faults.cut import Cut, partition
from net.relay.faults.delay import Delay
from net.relay.faults.duplicate import Duplicate
from net.relay.faults.fault import Fault
from net.relay.faults.loss import Loss
from net.relay.faults.reorder import Reorder
from orchestrator import link_quality
from orchestrator.fault_history import words_of
from orchestrator.fault_words import sentence
from orchestrator.node_numbers import NodeNumbers
from orchestrator.timers import Timers

ForSeconds: TypeAlias = float | UnsetType


class LinkFaults:
    """Carries out commands that have passed NodeNumbers.check, with numbers instead of `leader`."""

    def __init__(self, numbers: NodeNumbers, faults: Faults, timers: Timers) -> None:
        self._numbers = numbers
        self._faults = faults
        self._timers = timers
        self.last_seed: int | None = None

    async def fail_link(self, command: FailLinkCommand) -> LinksResult:
        links = _directions(command)
        self._cut(links, self._begin(command, command.for_s))
        text = _for_a_while(f"failed: {_ends_words(links)}", command.for_s)
        return LinksResult(links=self._faults.cut, for_s=command.for_s, text=text)

    async def fix_link(self, command: FixLinkCommand) -> LinksResult:
        links = _directions(command)
        self._faults.set(Cut, dict.fromkeys(links, Cut(False)))
        return LinksResult(links=self._faults.cut, text=f"works: {_ends_words(links)}")

    async def isolate(self, command: IsolateCommand) -> IsolateResult:
        node = cast(int, command.node)
        others = [other for other in self._numbers.all if other != node]
        links = [*((node, other) for other in others), *((other, node) for other in others)]
        self._cut(links, self._begin(command, command.for_s))
        text = _for_a_while(f"node {node} is cut off from all other nodes", command.for_s)
        return IsolateResult(node=node, links=self._faults.cut, for_s=command.for_s, text=text)

    async def partition(self, command: PartitionCommand) -> PartitionResult:
        self._faults.set(Cut, partition(command.groups), self._begin(command, command.for_s))
        text = _for_a_while("the groups cannot reach each other; all links within a group work", command.for_s)
        return PartitionResult(groups=command.groups, links=self._faults.cut, for_s=command.for_s, text=text)

    async def heal(self, command: HealCommand) -> LinksResult:
        self._faults.set(Cut, {ALL: Cut(False)})
        single = [f"single links: {len(self._faults.different)}"] if self._faults.different else []
        still_on = ", ".join([*link_quality.words(link_quality.parameters(self._faults)), *single])
        text = f"all links work{f' (still on: {still_on})' if still_on else ''}"
        return LinksResult(links=self._faults.cut, text=text)

    async def delay(self, command: DelayCommand) -> DelayResult:
        on = self._disturb(command, Delay(float(command.delay_ms), float(command.jitter_ms)))
        more = f" to {command.delay_ms + command.jitter_ms:g}" if command.jitter_ms else ""
        where = f" on {_link_words(on)}" if on else ""
        text = _for_a_while(f"every message{where} is delayed by {command.delay_ms:g}{more} ms", command.for_s)
        return DelayResult(
            delay_ms=command.delay_ms, jitter_ms=command.jitter_ms, on=on, for_s=command.for_s, text=text
        )

    async def loss(self, command: LossCommand) -> LossResult:
        on = self._disturb(command, Loss(command.percent))
        text = _rate_text(command, command.percent, on, "are lost")
        return LossResult(loss_percent=command.percent, on=on, for_s=command.for_s, text=text)

    async def duplicate(self, command: DuplicateCommand | DupCommand) -> DuplicateResult:
        on = self._disturb(command, Duplicate(command.percent))
        text = _rate_text(command, command.percent, on, "arrive twice")
        return DuplicateResult(duplicate_percent=command.percent, on=on, for_s=command.for_s, text=text)

    async def reorder(self, command: ReorderCommand) -> ReorderResult:
        on = self._disturb(command, Reorder(command.percent))
        text = _rate_text(command, command.percent, on, "may arrive out of order")
        return ReorderResult(reorder_percent=command.percent, on=on, for_s=command.for_s, text=text)

    async def bandwidth(self, command: BandwidthCommand) -> BandwidthResult:
        on = self._disturb(command, Bandwidth(command.kbps))
        most = f"{command.kbps:g} kbit/s at most" if command.kbps else "as much as comes"
        text = _for_a_while(f"{_link_words(on) if on else 'every link'} carries {most}", command.for_s)
        return BandwidthResult(bandwidth_kbps=command.kbps, on=on, for_s=command.for_s, text=text)

    async def seed(self, command: SeedCommand) -> SeedResult:
        self.last_seed = command.seed
        self._faults.seed(command.seed)
        text = f"random faults restart from seed {command.seed}"
        return SeedResult(seed=command.seed, text=text)

    def _cut(self, links: Iterable[Link], token: int | None) -> None:
        self._faults.set(Cut, dict.fromkeys(links, Cut(True)), token)

    def _disturb(self, command: LinkQualityCommand[Any], fault: Fault) -> list[Link] | UnsetType:
        """Puts the fault on the links that the command means; returns them, or UNSET for all."""
        on = UNSET if command.link is None else _directions(command)
        links = [ALL] if on is UNSET else on
        self._faults.set(type(fault), dict.fromkeys(links, fault), self._begin(command, command.for_s))
        return on

    def _begin(self, command: FaultCommand[Any], seconds: ForSeconds) -> int | None:
        """The token of a temporary fault, whose time starts now; None for a permanent one."""
        if seconds is UNSET:
            return None
        token = self._timers.token()
        fault = re.sub(r"\s+--for\s+\S+", "", words_of(command), flags=re.IGNORECASE)

        async def undo() -> str | None:
            return f"{fault}: over" if self._faults.lift(token) else None

        over = f"over: {sentence(msgspec.structs.replace(command, for_s=UNSET))}"
        self._timers.start(token, fault, seconds, undo, lambda: self._faults.holds(token), over)
        return token


def _directions(command: FailLinkCommand | FixLinkCommand | LinkQualityCommand[Any]) -> list[Link]:
    a, b = cast(Link, command.link)
    return [(a, b)] if command.one_way else [(a, b), (b, a)]


def _link_words(links: list[Link]) -> str:
    (a, b), *back = links
    return f"{a} <-> {b}" if back else f"{a} -> {b}"


def _ends_words(links: list[Link]) -> str:
    return _link_words(links) if len(links) > 1 else f"{_link_words(links)}, this direction only"


def _for_a_while(text: str, seconds: ForSeconds) -> str:
    return text if seconds is UNSET else f"{text}, for {seconds:g} s"


def _rate_text(command: LinkQualityCommand[Any], percent: float, on: list[Link] | UnsetType, fate: str) -> str:
    which = f"the messages on {_link_words(on)}" if on else "all messages"
    return _for_a_while(f"{percent:g} % of {which} {fate}", command.for_s)
