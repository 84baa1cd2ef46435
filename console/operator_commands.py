"""How the operator's commands are typed."""

from __future__ import annotations

from console import Usage

_WHILE = "With --for 10s (or 500ms, 2m) it is taken back by itself, and told."
_NODE = f"N is a node's number, or the word leader. {_WHILE}"
_RATE = (
    "With two nodes before the number, only the link between them; with --oneway only from the first to the second. "
    f"A later command about all links covers those about single ones. {_WHILE}"
)


USAGES = [
    Usage(
        "failLink", "A B [--oneway]", "cut the link between A and B, or only from A to B", "failLink 1 2", 2, 5,
        details=_WHILE,
    ),
    Usage("fixLink", "A B [--oneway]", "mend it again", "fixLink 1 2", 2, 5),
    Usage("failNode", "N", "crash node N: it dies at once, nothing flushed", "failNode 3", 1, 3, details=_NODE),
    Usage("fixNode", "N", "start node N again, in its own pane", "fixNode 3", 1, 1),
    Usage(
        "pauseNode", "N", "stop the process of node N: it stands still, as it is", "pauseNode 3", 1, 3, details=_NODE
    ),
    Usage("resumeNode", "N", "let it go on", "resumeNode 3", 1, 1),
    Usage("isolate", "N", "cut all links of node N", "isolate 3", 1, 3, details=f"{_NODE} heal mends the links."),
    Usage(
        "partition", "1,2|3,4,5", "cut exactly the links between these groups", "partition 1,2|3,4,5", 1, 1, text=True,
        details=_WHILE,
    ),
    Usage("heal", "", "mend all links; delay and loss stay", "heal"),
    Usage(
        "delay", "[A B] MS [JITTER]", "make messages late, by up to JITTER ms more", "delay 100 20", 1, 7, details=_RATE
    ),
    Usage("loss", "[A B] PERCENT", "lose so many of the messages", "loss 5", 1, 6, details=_RATE),
    Usage("dup", "[A B] PERCENT", "deliver so many of the messages twice", "dup 5", 1, 6, details=_RATE),
    Usage("duplicate", "[A B] PERCENT", "the same as dup", "duplicate 5", 1, 6, details=_RATE),
    Usage("reorder", "[A B] PERCENT", "let so many of the messages be overtaken", "reorder 5", 1, 6, details=_RATE),
    Usage("seed", "NUMBER", "make what is random about these repeatable", "seed 7", 1, 1),
    Usage(
        "reset", "", "take all faults back",
        details="Mends all links, ends delay, loss and the rest, resumes paused nodes, starts nodes that failNode "
        "crashed, forgets what --for would still take back.",
    ),
    Usage("status", "", "the nodes, as they report, and the network", "status", at_once=True),
    Usage(
        "watch", "[on|off]", "keep that on the screen", "watch", 0, 1, at_once=True,
        details="In a terminal it stays under the prompt until watch is typed again. Elsewhere it is one status event "
        "a second until the next line.",
    ),
    Usage("log", "[N]", "the last N faults set and taken back, with their times", "log 20", 0, 1, at_once=True),
    Usage(
        "script", "FILE", "carry out the commands in a file", "script failover", 1, 1, text=True, shows_progress=True,
        details="FILE, or the name of one in scenarios/. One command a line, # begins a remark, $N stands for a "
        "word that is new in every run. A line that makes no sense is told before anything is carried out; a command "
        "that fails ends the script. stop ends it too.",
    ),
    Usage("stop", "", "end the script that is running; faults stay as they are", "stop", at_once=True),
    Usage(
        "wait", "leader|converged|applied N", "until the cluster is there", "wait leader", 1, 5,
        details="wait leader, wait leader new (another one than before), wait leader 3,4,5 (one of these), wait "
        "converged (all nodes that are up have applied the same), wait applied 20, wait answers c1 (all nodes that are "
        "up have answered the last question). Gives up after 30 s, or --within 5s.",
    ),
    Usage("sleep", "TIME", "wait for a time", "sleep 2s", 1, 1),
    Usage("say", "TEXT", "show a text, in a script", "say Now node 1 dies.", 1, 1, text=True),
    Usage(
        "node", "N: COMMAND", "carry out a user's command at node N", "node 2: create c1", 1, 1, text=True,
        details="N is a node's number, or the word leader. The node's answer is shown here. With & at the end, the "
        "next command does not wait for it.",
    ),
    Usage(
        "load", "COUNT [N]", "have so many operations decided, by node N", "load 2000", 1, 2,
        details="Without N, by the leader. They create a conversation named load again and again: refused but for the "
        "first time, and decided all the same.",
    ),
]
"""`dup` and `duplicate` are one; scripts and programs may know either."""
