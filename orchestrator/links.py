"""The operator's faults of links: cut, slow, lossy; for good or for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from console import Result
from net.relay.faults import ALL, Faults, Link
from net.relay.faults.cut import Cut, partition
from net.relay.faults.delay import Delay
from net.relay.faults.duplicate import Duplicate
from net.relay.faults.loss import Loss
from net.relay.faults.reorder import Reorder
from orchestrator.timers import Timers
from orchestrator.words import (
    FOR,
    ONE_WAY,
    Action,
    CommandError,
    Flags,
    Nodes,
    number,
    percentage,
    split_flags,
    whole,
)

MAX_DELAY_MS = 600_000.0
MAX_SEED = 2**63


class LinkCommands:
    def __init__(self, nodes: Nodes, faults: Faults, timers: Timers) -> None:
        self._nodes = nodes
        self._faults = faults
        self._timers = timers
        self.seed: int | None = None
        """The last one that was given."""
        self.planners: dict[str, Callable[[list[str]], Action]] = {
            "failLink": self._fail_link,
            "fixLink": self._fix_link,
            "isolate": self._isolate,
            "partition": self._partition,
            "heal": self._heal,
            "delay": self._delay,
            "loss": lambda args: self._percent("loss", args, Loss, "get lost"),
            "duplicate": lambda args: self._percent("duplicate", args, Duplicate, "arrive twice"),
            "dup": lambda args: self._percent("dup", args, Duplicate, "arrive twice"),
            "reorder": lambda args: self._percent(
                "reorder", args, Reorder, "may be overtaken"
            ),
            "seed": self._seed,
        }

    def _fail_link(self, args: list[str]) -> Action:
        example = "failLink 1 2"
        flags = split_flags(args, f"{example} {ONE_WAY}", allowed=(ONE_WAY, FOR))
        links, words = self._nodes.link(flags.words, flags.one_way, example)

        async def act() -> Result:
            token = self._time("failLink", flags)
            self._faults.set(Cut, dict.fromkeys(links, Cut(True)), token)
            return self._links_now(f"failed: {words}", flags)

        return act

    def _fix_link(self, args: list[str]) -> Action:
        example = "fixLink 1 2"
        flags = split_flags(args, f"{example} {ONE_WAY}", allowed=(ONE_WAY,))
        links, words = self._nodes.link(flags.words, flags.one_way, example)

        async def act() -> Result:
            self._faults.set(Cut, dict.fromkeys(links, Cut(False)))
            return self._links_now(f"works: {words}", flags)

        return act

    def _isolate(self, args: list[str]) -> Action:
        flags = split_flags(args, "isolate 3", allowed=(FOR,))
        node = self._nodes.single(flags.words, "isolate 3")

        async def act() -> Result:
            others = [other for other in self._nodes.numbers if other != node]
            token = self._time("isolate", flags)
            links = [*((node, other) for other in others), *((other, node) for other in others)]
            self._faults.set(Cut, dict.fromkeys(links, Cut(True)), token)
            return {"node": node, **self._links_now(f"node {node} hears nobody, and nobody hears it", flags)}

        return act

    def _partition(self, args: list[str]) -> Action:
        example = "partition 1,2|3,4,5"
        flags = split_flags(" ".join(args).split(), example, allowed=(FOR,))
        groups = self._nodes.groups(" ".join(flags.words), example)

        async def act() -> Result:
            self._faults.set(Cut, partition(groups), self._time("partition", flags))
            text = "the groups hear each other no more; inside them all links work"
            return {"groups": groups, **self._links_now(text, flags)}

        return act

    def _heal(self, args: list[str]) -> Action:
        async def act() -> Result:
            self._faults.set(Cut, {ALL: Cut(False)})
            rest = ", ".join(quality_words(self._faults))
            return self._links_now("all links work" + (f" (still on: {rest})" if rest else ""), Flags([]))

        return act

    def _delay(self, args: list[str]) -> Action:
        flags = split_flags(args, f"delay 1 2 300 50 {ONE_WAY}", allowed=(ONE_WAY, FOR))
        single = len(flags.words) > 2
        example = "delay 1 2 300 50" if single else "delay 100 20"
        links, where, numbers = self._scope(flags, single, example)
        if len(numbers) > 2:
            raise CommandError(f"a delay and a jitter are expected, no more, for example: {example}")
        delay, *jitter = [number(word, MAX_DELAY_MS, "milliseconds", example) for word in numbers or [""]]

        async def act() -> Result:
            token = self._time("delay", flags)
            self._faults.set(Delay, dict.fromkeys(links, Delay(delay, float(sum(jitter)))), token)
            more = f" to {delay + jitter[0]:g}" if jitter and jitter[0] else ""
            text = f"every message{where} is {delay:g}{more} ms late"
            return {"delay_ms": delay, "jitter_ms": sum(jitter), **_of(links), **_lasting(text, flags)}

        return act

    def _percent(
        self, name: str, args: list[str], kind: Callable[[float], Loss | Duplicate | Reorder], what: str
    ) -> Action:
        flags = split_flags(args, f"{name} 1 2 20 {ONE_WAY}", allowed=(ONE_WAY, FOR))
        single = len(flags.words) > 1
        example = f"{name} 1 2 20" if single else f"{name} 5"
        links, where, numbers = self._scope(flags, single, example)
        if len(numbers) > 1:
            raise CommandError(f"one percentage is expected, for example: {example}")
        percent = percentage(numbers[0] if numbers else "", example)

        async def act() -> Result:
            fault = kind(percent)
            self._faults.set(type(fault), dict.fromkeys(links, fault), self._time(name, flags))
            key = "duplicate_percent" if name == "dup" else f"{name}_percent"
            of = f"of the messages{where}" if where else "of all messages"
            return {key: percent, **_of(links), **_lasting(f"{percent:g} % {of} {what}", flags)}

        return act

    def _seed(self, args: list[str]) -> Action:
        seed = whole(args[0], 0, "a whole number", "seed 7")
        if seed > MAX_SEED:
            raise CommandError(f"'{seed}' is too large, for example: seed 7")

        async def act() -> Result:
            self.seed = seed
            self._faults.seed(seed)
            return {"seed": seed, "text": f"what is random about loss, delay and the rest begins anew from {seed}"}

        return act

    def _scope(self, flags: Flags, single: bool, example: str) -> tuple[list[Link], str, Sequence[str]]:
        """Which links are meant, in words too, and the words that are left."""
        if single:
            links, words = self._nodes.link(flags.words[:2], flags.one_way, example)
            return links, f" on {words.replace(', this direction only', '')}", flags.words[2:]
        if flags.one_way:
            raise CommandError(f"{ONE_WAY} needs a link: two nodes first, for example: {example.split()[0]} 1 2 20")
        return [ALL], "", flags.words

    def _time(self, name: str, flags: Flags) -> int | None:
        """The token of a fault for a while, whose time begins now; None for a lasting one."""
        if flags.seconds is None:
            return None
        token = self._timers.token()
        fault = " ".join([name, *flags.words, *([ONE_WAY] if flags.one_way else [])])

        async def undo() -> str | None:
            return f"{fault}: over" if self._faults.lift(token) else None

        self._timers.start(token, fault, flags.seconds, undo, lambda: self._faults.holds(token))
        return token

    def _links_now(self, text: str, flags: Flags) -> Result:
        return {"links": [list(link) for link in self._faults.cut], **_lasting(text, flags)}


def _lasting(text: str, flags: Flags) -> Result:
    if flags.seconds is None:
        return {"text": text}
    return {"for_s": flags.seconds, "text": f"{text}, for {flags.seconds:g} s"}


def _of(links: list[Link]) -> dict[str, Any]:
    return {} if links == [ALL] else {"on": [list(link) for link in links]}


def quality_words(faults: Faults) -> list[str]:
    """What is wrong with links that work, in a few words each."""
    words = [fault.words() for fault in faults.in_force() if not isinstance(fault, Cut) and fault != type(fault)()]
    return [*words, f"single links: {len(faults.different)}"] if faults.different else words
