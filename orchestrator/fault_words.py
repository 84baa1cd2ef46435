"""What a command does to the network or to a node, as a sentence for those who watch and do not know the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from api import operator_commands as commands
from api.operator_commands import FaultCommand, LinkQualityCommand


def sentence(command: FaultCommand[Any]) -> str:
    """Of a command whose nodes have numbers."""
    words = _WORDS[type(command)](command)
    for_s = getattr(command, "for_s", UNSET)
    return words if for_s is UNSET else f"{words} for {for_s:g} s"


def _link(command: commands.FailLinkCommand | commands.FixLinkCommand | LinkQualityCommand[Any]) -> str:
    assert command.link is not None
    one, other = command.link
    return f"link {one}-{other}" + (f", from {one} to {other} only," if command.one_way else "")


def _where(command: LinkQualityCommand[Any]) -> str:
    return "every link" if command.link is None else _link(command)


def _delay(command: commands.DelayCommand) -> str:
    if not command.delay_ms and not command.jitter_ms:
        return f"{_where(command)} delays nothing any more"
    more = f" to {command.delay_ms + command.jitter_ms:g}" if command.jitter_ms else ""
    return f"{_where(command)} delays messages by {command.delay_ms:g}{more} ms"


def _rate(verb: str) -> Callable[[Any], str]:
    def words(command: Any) -> str:
        share = f"{command.percent:g} % of all messages" if command.percent else "nothing any more"
        return f"{_where(command)} {verb} {share}"

    return words


def _bandwidth(command: commands.BandwidthCommand) -> str:
    most = f"{command.kbps:g} kbit/s at most" if command.kbps else "as much as comes"
    return f"{_where(command)} carries {most}"


def _groups(command: commands.PartitionCommand) -> str:
    return "the network is split: " + " | ".join(", ".join(map(str, group)) for group in command.groups)


def _step(command: commands.StepCommand) -> str:
    return "the oldest message that waits goes on" if command.count == 1 else f"the {command.count} oldest ones go on"


_WORDS: Final[dict[type, Callable[[Any], str]]] = {
    commands.FailLinkCommand: lambda command: f"{_link(command)} is cut",
    commands.FixLinkCommand: lambda command: f"{_link(command)} works again",
    commands.IsolateCommand: lambda command: f"node {command.node} is cut off from all other nodes",
    commands.PartitionCommand: _groups,
    commands.HealCommand: lambda command: "no link is cut any more",
    commands.DelayCommand: _delay,
    commands.LossCommand: _rate("loses"),
    commands.DuplicateCommand: _rate("doubles"),
    commands.DupCommand: _rate("doubles"),
    commands.ReorderCommand: _rate("reorders"),
    commands.BandwidthCommand: _bandwidth,
    commands.SeedCommand: lambda command: f"random faults begin anew, from seed {command.seed}",
    commands.HoldCommand: lambda command: "messages wait at the network, to go on one by one",
    commands.StepCommand: _step,
    commands.DeliverCommand: lambda command: f"message {command.message} goes on",
    commands.RepeatCommand: lambda command: f"a copy of message {command.message} goes on",
    commands.DropCommand: lambda command: f"message {command.message} is lost",
    commands.SlowCommand: lambda command: f"messages go on slowly, {command.rate:g} a second",
    commands.ReleaseCommand: lambda command: "all messages go on, and none waits any more",
    commands.FailNodeCommand: lambda command: f"node {command.node} is killed",
    commands.FixNodeCommand: lambda command: f"node {command.node} is started",
    commands.PauseNodeCommand: lambda command: f"node {command.node} is paused",
    commands.ResumeNodeCommand: lambda command: f"node {command.node} goes on",
    commands.FixAllCommand: lambda command: "all faults are removed",
    commands.ResetCommand: lambda command: "all faults are removed",
}
