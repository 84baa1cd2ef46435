"""Consensus step by step: messages wait at the relay until the operator lets them go on."""

from __future__ import annotations

from collections.abc import Callable

from api.operator_commands import (
    DeliverCommand,
    DropCommand,
    HeldCommand,
    HoldCommand,
    ReleaseCommand,
    RepeatCommand,
    SlowCommand,
    StepCommand,
)
from api.operator_events import MessageHeldEvent
from api.operator_results import HeldMessageRecord, HeldResult
from net.relay.holding import HeldMessage, Holding
from orchestrator.errors import CommandError

REPORTED = 50
"""While more wait, new ones are not reported one by one."""


class StepMode:
    def __init__(self, holding: Callable[[], Holding], emit: Callable[[MessageHeldEvent], None]) -> None:
        """`holding` is asked for at every command, and not before the first."""
        self._holding = holding
        self._emit = emit

    def noted(self, message: HeldMessage) -> None:
        holding = self._holding()
        if not holding.rate and len(holding.messages) <= REPORTED:
            self._emit(MessageHeldEvent(message.number, (message.src, message.dst), message.label, message.again))

    async def hold(self, command: HoldCommand) -> HeldResult:
        self._holding().start()
        return self._result("messages wait here; heartbeats pass")

    async def slow(self, command: SlowCommand) -> HeldResult:
        self._holding().start(command.rate)
        return self._result(f"{command.rate:g} messages a second go on")

    async def release(self, command: ReleaseCommand) -> HeldResult:
        released = self._holding().stop()
        return self._result(f"all messages go on{f', {released} that waited first' if released else ''}")

    async def held(self, command: HeldCommand) -> HeldResult:
        return self._result(self._waiting())

    async def step(self, command: StepCommand) -> HeldResult:
        passed = self._holding().step(command.count)
        if not passed:
            raise CommandError(self._nothing())
        return self._result("\n".join(f"went on: {words(message)}" for message in passed))

    async def deliver(self, command: DeliverCommand) -> HeldResult:
        return self._one(self._holding().deliver, command.message, "went on")

    async def repeat(self, command: RepeatCommand) -> HeldResult:
        return self._one(self._holding().repeat, command.message, "a copy went on")

    async def drop(self, command: DropCommand) -> HeldResult:
        return self._one(self._holding().drop, command.message, "lost")

    def _one(self, action: Callable[[int], HeldMessage], number: int, fate: str) -> HeldResult:
        try:
            message = action(number)
        except KeyError:
            more = self._nothing() or "held lists what does"
            raise CommandError(f"no message #{number} waits here; {more}") from None
        return self._result(f"{fate}: {words(message)}")

    def _nothing(self) -> str:
        holding = self._holding()
        if not holding.active:
            return "no messages are held: hold begins"
        return "" if holding.messages else "no message waits"

    def _waiting(self) -> str:
        return self._nothing() or "\n".join(words(message) for message in self._holding().messages)

    def _result(self, text: str) -> HeldResult:
        holding = self._holding()
        return HeldResult(
            holding=holding.active, rate=holding.rate, lost=holding.lost, text=text,
            held=[record(each) for each in holding.messages],
        )


def record(held: HeldMessage) -> HeldMessageRecord:
    return HeldMessageRecord(
        number=held.number, link=(held.src, held.dst), message=held.label, sent=held.sent, again=held.again
    )


def words(message: HeldMessage) -> str:
    """One line: `#3 Accept <2,1,15> from 1 to 4, again, sent 3 times`."""
    again = ", again" if message.again else ""
    sent = f", sent {message.sent} times" if message.sent > 1 else ""
    return f"#{message.number} {message.label} from {message.src} to {message.dst}{again}{sent}"
