"""The operator's commands: how each is typed, what it means, how its result is shown. Help, completion and documents
are generated from this table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from api import node_commands
from api import operator_commands as commands
from api.base import Command, Failure, Result, names_in
from api.errors import InvalidCommand
from api.operator_commands import LEADER, FaultCommand
from console.basic_views import sentence
from console.command_table import CommandTable, Entry, at_once, in_order, no_completion
from console.layout import Layout
from console.operator import parsing, views
from console.operator.parsing import ALL, FOR, ONE_WAY, STEP
from console.operator.prompt import OperatorPrompt
from console.usage import Usage, UsageError, expectation
from orchestrator.fault_history import words_of
from orchestrator.script import FINALLY, names

_WHILE = "With --for 10s (or 500ms, 2m) it ends automatically, with a message."
_NODE = f"N is a node's number, or the word leader. {_WHILE}"
_RATE = (
    "With two nodes before the number: only the link between them; with --oneway, only from the first to the second. "
    f"A later command for all links overrides those for single links. {_WHILE}"
)

C = TypeVar("C", bound=Command[Any])
Complete = Callable[[OperatorPrompt, Sequence[str]], Iterable[str]]
View = Callable[[Any, Layout], str]


class ArgumentError(UsageError):
    """The command exists; its arguments are invalid. In the JSON of 0.1.0 this is not a usage error."""

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


# ---- Completion


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


def _explain_completion(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
    return [ALL] if len(words) == 1 else [] if words else ["on", "off"]


def _scenarios(prompt: OperatorPrompt, words: Sequence[str]) -> Iterable[str]:
    return [STEP] if words else names()


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
        Usage("fixLink", "A B [--oneway]", "restore the link", "fixLink 1 2", 2, 5),
        commands.FixLinkCommand, parsing.fix_link, complete=_link_completion(ONE_WAY),
    ),
    _entry(
        Usage("failNode", "N", "crash node N at once, with nothing flushed", "failNode 3", 1, 3, details=_NODE),
        commands.FailNodeCommand, parsing.fail_node, complete=_crash_completion,
    ),
    _entry(
        Usage("fixNode", "N", "start node N again, in its own pane", "fixNode 3", 1, 1),
        commands.FixNodeCommand, parsing.fix_node, complete=_node_completion,
    ),
    _entry(
        Usage(
            "pauseNode", "N", "pause the process of node N", "pauseNode 3", 1, 3,
            details=_NODE,
        ),
        commands.PauseNodeCommand, parsing.pause_node, complete=_crash_completion,
    ),
    _entry(
        Usage("resumeNode", "N", "resume node N", "resumeNode 3", 1, 1),
        commands.ResumeNodeCommand, parsing.resume_node, complete=_node_completion,
    ),
    _entry(
        Usage(
            "addNode", "N", "make node N a member, and start it", "addNode 6", 1, 1,
            details="Node N is started like the others, unless it runs already, and becomes a member as soon as it has "
            "caught up. One that config.json does not list asks the LLM of the common settings. One change at a time.",
        ),
        commands.AddNodeCommand, parsing.add_node,
    ),
    _entry(
        Usage(
            "removeNode", "N", "node N leaves the members, and exits", "removeNode 2", 1, 1,
            details="N is a node's number, or the word leader. The other members must be a majority without it. A node "
            "that is down, or cut off, leaves when it learns of it; nothing starts it again.",
        ),
        commands.RemoveNodeCommand, parsing.remove_node, complete=_node_completion,
    ),
    _entry(
        Usage(
            "replaceNode", "N", "the disk of node N, which is down, does not count any more", "replaceNode 3", 1, 1,
            details="For a disk that is lost, or not to be trusted: it does not count any more, until node N has come "
            "back, with whatever disk, and caught up.",
        ),
        commands.ReplaceNodeCommand, parsing.replace_node, complete=_node_completion,
    ),
    _entry(
        Usage("isolate", "N", "cut all links of node N", "isolate 3", 1, 3, details=f"{_NODE} heal restores links."),
        commands.IsolateCommand, parsing.isolate, complete=_crash_completion,
    ),
    _entry(
        Usage(
            "partition", "1,2|3,4,5", "cut exactly the links between these groups", "partition 1,2|3,4,5", 1, 1,
            text=True, details=_WHILE,
        ),
        commands.PartitionCommand, parsing.partition,
    ),
    _entry(Usage("heal", "", "restore all links; delay and loss stay", "heal"), commands.HealCommand),
    _entry(
        Usage(
            "delay", "[A B] MS [JITTER]", "delay messages by MS, plus up to JITTER ms", "delay 100 20", 1, 7,
            details=_RATE,
        ),
        commands.DelayCommand, parsing.delay,
    ),
    _entry(
        Usage("loss", "[A B] PERCENT", "lose this percentage of messages", "loss 5", 1, 6, details=_RATE),
        commands.LossCommand, parsing.loss,
    ),
    _entry(
        Usage("dup", "[A B] PERCENT", "deliver this percentage of messages twice", "dup 5", 1, 6, details=_RATE),
        commands.DupCommand, parsing.dup,
    ),
    _entry(
        Usage("duplicate", "[A B] PERCENT", "the same as dup", "duplicate 5", 1, 6, details=_RATE),
        commands.DuplicateCommand, parsing.duplicate,
    ),
    _entry(
        Usage("reorder", "[A B] PERCENT", "deliver this percentage of messages late", "reorder 5", 1, 6, details=_RATE),
        commands.ReorderCommand, parsing.reorder,
    ),
    _entry(
        Usage(
            "bandwidth", "KBPS [A B]", "limit links to KBPS kilobits a second", "bandwidth 8000", 1, 6,
            details="The limit holds for each direction of each link; 0 is no limit. What waits too long is lost. With "
            "two nodes after the number: only the link between them; with --oneway only from the first to the second. "
            f"A later command about all links overrides those about single ones. {_WHILE}",
        ),
        commands.BandwidthCommand, parsing.bandwidth,
    ),
    _entry(
        Usage("seed", "NUMBER", "make random faults repeatable", "seed 7", 1, 1),
        commands.SeedCommand, parsing.seed,
    ),
    _entry(
        Usage(
            "hold", "", "keep every message at the network, to let them go one by one", "hold",
            details="Heartbeats pass, so nobody is suspected meanwhile. The messages that wait are numbered: held "
            "lists them, step lets the oldest go on; deliver, repeat and drop take one by its number, and release lets "
            "all go on. What is sent again while it waits, waits once.",
        ),
        commands.HoldCommand,
    ),
    _entry(Usage("held", "", "list the messages that wait", "held", at_once=True), commands.HeldCommand),
    _entry(
        Usage("step", "[N]", "let the N oldest messages that wait go on", "step 3", 0, 1),
        commands.StepCommand, parsing.step,
    ),
    _entry(
        Usage("deliver", "K", "let message K go on, before or after others", "deliver 3", 1, 1),
        commands.DeliverCommand, parsing.deliver,
    ),
    _entry(
        Usage("repeat", "K", "let a copy of message K go on; it waits all the same", "repeat 3", 1, 1,
              details="Not to be confused with duplicate 3, a fault that doubles 3 % of all messages."),
        commands.RepeatCommand, parsing.repeat,
    ),
    _entry(Usage("drop", "K", "lose message K, which waits", "drop 3", 1, 1), commands.DropCommand, parsing.drop),
    _entry(
        Usage(
            "slow", "RATE", "let RATE messages go on in a second: slow motion", "slow 10", 1, 1,
            details="In the order in which they were sent. Heartbeats pass at once. release ends it.",
        ),
        commands.SlowCommand, parsing.slow,
    ),
    _entry(
        Usage("release", "", "let all messages go on, and hold none any more", "release"), commands.ReleaseCommand,
    ),
    _entry(
        Usage(
            "fixAll", "", "remove all faults", "fixAll",
            details="Restores all links, ends delay, loss and others, lets messages that wait go on, resumes paused "
            "nodes, starts nodes that failNode crashed, and cancels the timers of --for.",
        ),
        commands.FixAllCommand,
    ),
    _entry(
        Usage(
            "reset", "", "the same as fixAll",
            details="`./run.sh reset` is another thing: it deletes all conversations.",
        ),
        commands.ResetCommand, view=views.reset_text,
    ),
    _entry(
        Usage("status", "", "the nodes' reports, and the network", "status", at_once=True, about_protocol=True),
        commands.NetworkStatusCommand, view=views.status_text,
    ),
    _entry(
        Usage(
            "watch", "[on|off]", "keep the status on the screen", "watch", 0, 1, at_once=True, only_prompt=True,
            details="In a terminal it stays under the prompt until watch is typed again. Otherwise it is one status "
            "event per second until the next line.",
        ),
        commands.WatchCommand, parsing.watch, complete=_first_word("on", "off"),
    ),
    _entry(
        Usage(
            "explain", f"on|off {ALL}", "have every node explain each step of the protocol", f"explain on {ALL}", 1, 2,
            details="At its own prompt, in its pane; explain off, typed there, ends it at one node. A node that starts "
            "later does not explain: type it again.",
        ),
        commands.ExplainAllCommand, parsing.explain, complete=_explain_completion,
    ),
    _entry(
        Usage(
            "log", "[N]", "the last N faults set and removed, with their times", "log 20", 0, 1, at_once=True
        ),
        commands.HistoryCommand, parsing.history, views.history_text,
    ),
    _entry(
        Usage(
            "script", f"FILE [{STEP}]", "run the commands in a file", "script failover", 1, 1, text=True,
            shows_progress=True,
            details="A file, or the name of one in scenarios/. One command per line, # begins a comment, $N is a word "
            "that is new in every run. If any line is invalid, no command is run; a command that fails ends the "
            f"script, as does stop. The lines after one that says {FINALLY} clean up: they are run however it ends; "
            f"only a second stop ends them. With {STEP} it waits before each of the others: next runs one, continue "
            "all that are left.",
        ),
        commands.ScriptCommand, parsing.script, complete=_scenarios,
    ),
    _entry(
        Usage(
            "stop", "", "end the running script; faults stay in place, unless its clean-up removes them", "stop",
            at_once=True,
        ),
        commands.StopCommand,
    ),
    _entry(
        Usage("pause", "", "the running script waits after its current line", "pause", at_once=True),
        commands.PauseCommand,
    ),
    _entry(
        Usage("next", "[N]", "the next N lines of a paused script are run", "next", 0, 1, at_once=True),
        commands.NextCommand, parsing.next_lines,
    ),
    _entry(
        Usage("continue", "", "a paused script goes on", "continue", at_once=True), commands.ContinueCommand,
    ),
    _entry(
        Usage(
            "wait", "leader|converged|applied N", "wait for a state of the cluster", "wait leader", 1, 5,
            details="wait leader, wait leader new (a different one), wait leader 3,4,5 (one of these), wait "
            "converged (all nodes that are up have applied the same), wait applied 20, wait behind 5 1000 (node 5 has "
            "applied 1000 operations fewer than another one), wait answers c1 (all nodes that are up have answered the "
            "last question). Fails after 30 s, or --within 5s.",
        ),
        commands.WaitCommand, parsing.wait, complete=_first_word("leader", "converged", "applied", "behind", "answers"),
    ),
    _entry(Usage("sleep", "TIME", "wait for a time", "sleep 2s", 1, 1), commands.SleepCommand, parsing.sleep),
    _entry(
        Usage("say", "TEXT", "show text, in a script", "say Now node 1 dies.", 1, 1, text=True),
        commands.SayCommand, parsing.say,
    ),
    _entry(
        Usage(
            "node", "N: COMMAND", "run a user's command at node N", "node 2: create c1", 1, 1, text=True,
            details="N is a node's number, or the word leader. The node's answer is shown here. With & at the end, the "
            "script does not wait for it.",
        ),
        commands.NodeCommand, parsing.at_node, views.node_text,
    ),
    _entry(
        Usage(
            "load", "COUNT [N]", "have node N get COUNT operations decided", "load 2000", 1, 2,
            details="Without N, at the leader. Each operation creates the conversation load: all but the first are "
            "refused, but decided all the same.",
        ),
        commands.LoadCommand, parsing.load,
    ),
]
"""`dup` and `duplicate` are the same; scripts and programs may use either."""

OPERATOR_TABLE: CommandTable[OperatorPrompt] = CommandTable(
    ENTRIES, names_in(node_commands), "at a node; here: node N: COMMAND, for example: node 2: create c1"
)


def parse_line(text: str) -> Command[Any]:
    """The command of a script's line. Raises InvalidCommand."""
    try:
        command = OPERATOR_TABLE.parse(0, text).command
    except UsageError as mistake:
        raise InvalidCommand(str(mistake)) from None
    assert command is not None  # only help, exit and blank lines have none
    return command
