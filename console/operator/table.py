"""The operator's commands: how each is typed, what it means, how its result looks. Help, completion and documents come
from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from api import operator_commands as commands
from api.base import Command, Failure, Result
from api.errors import InvalidCommand
from api.operator_commands import LEADER, FaultCommand
from console.basic_views import sentence
from console.command_table import CommandTable, Entry, at_once, in_order, no_completion
from console.layout import Layout
from console.operator import parsing, views
from console.operator.parsing import FOR, ONE_WAY
from console.operator.prompt import OperatorPrompt
from console.usage import Usage, UsageError, expectation
from orchestrator.fault_history import words_of
from orchestrator.script import names

_WHILE = "With --for 10s (or 500ms, 2m) it is taken back automatically, and the prompt says so."
_NODE = f"N is a node's number, or the word leader. {_WHILE}"
_RATE = (
    "With two nodes before the number, only the link between them; with --oneway only from the first to the second. "
    f"A later command about all links covers those about single ones. {_WHILE}"
)

C = TypeVar("C", bound=Command[Any])
Complete = Callable[[OperatorPrompt, Sequence[str]], Iterable[str]]
View = Callable[[Any, Layout], str]


class ArgumentError(UsageError):
    """The command exists; the words behind it make no sense. In the JSON of 0.1.0 this is no usage error."""

    kind = UNSET

    def __init__(self, mistake: ValueError, usage: Usage) -> None:
        super().__init__(f"{mistake}; {expectation(usage)}", usage.name)
        self.at_once = usage.at_once


def _entry(
    usage: Usage, command: type[C], parse: Callable[[list[str]], C] | None = None, view: View | None = None,
    complete: Complete = no_completion,
) -> Entry[OperatorPrompt, Any, Any]:
    def typed(words: list[str]) -> C:
        try:
            made = command() if parse is None else parse(words)
        except ValueError as mistake:
            raise ArgumentError(mistake, usage) from None
        as_typed = " ".join([usage.name, *words])
        if isinstance(made, FaultCommand) and words_of(made) != as_typed:
            return msgspec.structs.replace(made, words=as_typed)
        return made

    async def run(prompt: OperatorPrompt, command: C) -> Result:
        try:
            result: Result = await prompt.orchestrator.execute(command)
        except InvalidCommand as mistake:
            return Failure(error=f"{mistake}; {expectation(usage)}")
        return result

    def shown(command: C, result: Result, layout: Layout) -> str:
        return sentence(command, result, layout) if view is None else view(result, layout)

    return Entry(usage, command, (at_once if usage.at_once else in_order)(run), typed, shown, complete)


# ---- What may follow


def _crash_completion(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
    if not words:
        return [*prompt.nodes_but(words), LEADER]
    return [FOR] if len(words) == 1 else []


def _node_completion(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
    return [] if words else prompt.nodes_but(words)


def _link_completion(*flags: str) -> Complete:
    def complete(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
        return prompt.nodes_but(words) if len(words) < 2 else [flag for flag in flags if flag not in words]

    return complete


def _first_word(*choices: str) -> Complete:
    return lambda prompt, words: [] if words else choices


def _scenarios(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
    return [] if words else names()


# ---- The table

ENTRIES = [
    _entry(
        Usage(
            "failLink", "A B [--oneway]", "cut the link between A and B, or only from A to B", "failLink 1 2", 2, 5,
            details=_WHILE,
        ),
        commands.FailLinkCommand, parsing.fail_link, complete=_link_completion(ONE_WAY, FOR),
    ),
    _entry(
        Usage("fixLink", "A B [--oneway]", "mend it again", "fixLink 1 2", 2, 5),
        commands.FixLinkCommand, parsing.fix_link, complete=_link_completion(ONE_WAY),
    ),
    _entry(
        Usage("failNode", "N", "crash node N: it dies at once, nothing flushed", "failNode 3", 1, 3, details=_NODE),
        commands.FailNodeCommand, parsing.fail_node, complete=_crash_completion,
    ),
    _entry(
        Usage("fixNode", "N", "start node N again, in its own pane", "fixNode 3", 1, 1),
        commands.FixNodeCommand, parsing.fix_node, complete=_node_completion,
    ),
    _entry(
        Usage(
            "pauseNode", "N", "stop the process of node N: it stands still, as it is", "pauseNode 3", 1, 3,
            details=_NODE,
        ),
        commands.PauseNodeCommand, parsing.pause_node, complete=_crash_completion,
    ),
    _entry(
        Usage("resumeNode", "N", "let it go on", "resumeNode 3", 1, 1),
        commands.ResumeNodeCommand, parsing.resume_node, complete=_node_completion,
    ),
    _entry(
        Usage("isolate", "N", "cut all links of node N", "isolate 3", 1, 3, details=f"{_NODE} heal mends the links."),
        commands.IsolateCommand, parsing.isolate, complete=_crash_completion,
    ),
    _entry(
        Usage(
            "partition", "1,2|3,4,5", "cut exactly the links between these groups", "partition 1,2|3,4,5", 1, 1,
            text=True, details=_WHILE,
        ),
        commands.PartitionCommand, parsing.partition,
    ),
    _entry(Usage("heal", "", "mend all links; delay and loss stay", "heal"), commands.HealCommand),
    _entry(
        Usage(
            "delay", "[A B] MS [JITTER]", "make messages late, by up to JITTER ms more", "delay 100 20", 1, 7,
            details=_RATE,
        ),
        commands.DelayCommand, parsing.delay,
    ),
    _entry(
        Usage("loss", "[A B] PERCENT", "lose so many of the messages", "loss 5", 1, 6, details=_RATE),
        commands.LossCommand, parsing.loss,
    ),
    _entry(
        Usage("dup", "[A B] PERCENT", "deliver so many of the messages twice", "dup 5", 1, 6, details=_RATE),
        commands.DupCommand, parsing.dup,
    ),
    _entry(
        Usage("duplicate", "[A B] PERCENT", "the same as dup", "duplicate 5", 1, 6, details=_RATE),
        commands.DuplicateCommand, parsing.duplicate,
    ),
    _entry(
        Usage("reorder", "[A B] PERCENT", "let so many of the messages be overtaken", "reorder 5", 1, 6, details=_RATE),
        commands.ReorderCommand, parsing.reorder,
    ),
    _entry(
        Usage(
            "bandwidth", "KBPS [A B]", "let links carry only so many kilobits a second", "bandwidth 8000", 1, 6,
            details="Each direction of each link carries so much, 0 is no limit; what waits too long is lost. With two "
            "nodes behind the number, only the link between them; with --oneway only from the first to the second. A "
            f"later command about all links covers those about single ones. {_WHILE}",
        ),
        commands.BandwidthCommand, parsing.bandwidth,
    ),
    _entry(
        Usage("seed", "NUMBER", "make what is random about these repeatable", "seed 7", 1, 1),
        commands.SeedCommand, parsing.seed,
    ),
    _entry(
        Usage(
            "reset", "", "take all faults back",
            details="Mends all links, ends delay, loss and the rest, resumes paused nodes, starts nodes that failNode "
            "crashed, forgets what --for would still take back.",
        ),
        commands.ResetCommand,
    ),
    _entry(
        Usage("status", "", "the nodes, as they report, and the network", "status", at_once=True),
        commands.NetworkStatusCommand, view=views.status_text,
    ),
    _entry(
        Usage(
            "watch", "[on|off]", "keep that on the screen", "watch", 0, 1, at_once=True,
            details="In a terminal it stays under the prompt until watch is typed again. Elsewhere it is one status "
            "event a second until the next line.",
        ),
        commands.WatchCommand, parsing.watch, complete=_first_word("on", "off"),
    ),
    _entry(
        Usage(
            "log", "[N]", "the last N faults set and taken back, with their times", "log 20", 0, 1, at_once=True
        ),
        commands.HistoryCommand, parsing.history, views.history_text,
    ),
    _entry(
        Usage(
            "script", "FILE", "carry out the commands in a file", "script failover", 1, 1, text=True,
            shows_progress=True,
            details="FILE, or the name of one in scenarios/. One command a line, # begins a comment, $N stands for a "
            "word that is new in every run. If a line makes no sense, nothing at all is carried out; a command that "
            "fails ends the script. stop ends it, too.",
        ),
        commands.ScriptCommand, parsing.script, complete=_scenarios,
    ),
    _entry(
        Usage("stop", "", "end the script that is running; faults stay as they are", "stop", at_once=True),
        commands.StopCommand,
    ),
    _entry(
        Usage(
            "wait", "leader|converged|applied N", "until the cluster is there", "wait leader", 1, 5,
            details="wait leader, wait leader new (another one than before), wait leader 3,4,5 (one of these), wait "
            "converged (all nodes that are up have applied the same), wait applied 20, wait answers c1 (all nodes that "
            "are up have answered the last question). Gives up after 30 s, or --within 5s.",
        ),
        commands.WaitCommand, parsing.wait, complete=_first_word("leader", "converged", "applied", "answers"),
    ),
    _entry(Usage("sleep", "TIME", "wait for a time", "sleep 2s", 1, 1), commands.SleepCommand, parsing.sleep),
    _entry(
        Usage("say", "TEXT", "show a text, in a script", "say Now node 1 dies.", 1, 1, text=True),
        commands.SayCommand, parsing.say,
    ),
    _entry(
        Usage(
            "node", "N: COMMAND", "carry out a user's command at node N", "node 2: create c1", 1, 1, text=True,
            details="N is a node's number, or the word leader. The node's answer is shown here. With & at the end, the "
            "next command does not wait for it.",
        ),
        commands.NodeCommand, parsing.at_node, views.node_text,
    ),
    _entry(
        Usage(
            "load", "COUNT [N]", "have so many operations decided, by node N", "load 2000", 1, 2,
            details="Without N, by the leader. They create a conversation named load again and again: refused but for "
            "the first time, and decided all the same.",
        ),
        commands.LoadCommand, parsing.load,
    ),
]
"""`dup` and `duplicate` are one; scripts and programs may know either."""

OPERATOR_TABLE: CommandTable[OperatorPrompt] = CommandTable(ENTRIES)


def parse_line(text: str) -> Command[Any]:
    """The command of a script's line. Raises InvalidCommand."""
    try:
        command = OPERATOR_TABLE.parse(0, text).command
    except UsageError as mistake:
        raise InvalidCommand(str(mistake)) from None
    assert command is not None  # only lines that are no command have none
    return command
