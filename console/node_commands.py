"""What a node's user may type."""

from __future__ import annotations

from console import Usage, by_name

FULL = "--full"
ALL_CANDIDATES = "--all-candidates"
VOTES = "--votes"
AUTO = "auto"
CHOSEN = "--chosen"
FORCE = "--force"

_LEFT_OUT = (
    "After `use C`, C may be left out. The first word is then taken for a conversation if there is one of that name, "
    "else it belongs to the text."
)

COMMANDS = by_name(
    [
        Usage("create", "C", "begin a conversation called C", "create c1", 1, 1),
        Usage("query", "C TEXT", "ask every node's LLM", "query c1 What is Paxos?", 2, 2, text=True, details=_LEFT_OUT),
        Usage(
            "choose", f"C N|{AUTO}", "take the answer of node N, or let the nodes choose", "choose c1 3", 2, 2,
            details="`choose N` is enough after `use C`, or when only one conversation waits for a choice.\n"
            f"With `{AUTO}` every node's LLM ranks the answers without knowing whose they are. Of n answers the best "
            f"gets n - 1 points, the last none; the sum decides, then the lower number. `view C {VOTES}` shows it.",
        ),
        Usage(
            "ask", "C TEXT", "ask the leader's LLM alone", "ask c1 What is a quorum?", 2, 2, text=True,
            details=_LEFT_OUT,
        ),
        Usage("cancel", "C", "give up the open question", "cancel c1", 1, 1),
        Usage(
            "retry", "C [N]", "ask the open question again, all nodes or node N", "retry c1 3", 1, 2,
            details="What was answered so far is dropped, and what still comes of it too.",
        ),
        Usage(
            "view", f"C [{ALL_CANDIDATES}] [{VOTES}]", "show a conversation", "view c1", 1, 3, large=True,
            details="Shows what was chosen, and every answer to an open question. After `use C`, C may be left out.\n"
            f"{VOTES} shows how the nodes ranked the answers after `choose C {AUTO}`.",
        ),
        Usage(
            "viewall", f"[{FULL}]", "show all conversations", "viewall", 0, 1, large=True,
            details=f"A table of them; with {FULL} everything. The time is that of the last change, by the clock "
            "of the node that it came from.",
        ),
        Usage(
            "use", "[C]", "make C the conversation that is meant when none is named", "use c1", 0, 1,
            details="Then query, ask, choose, cancel, retry, view and export may leave C out. `use` alone ends that.\n"
            "With `use c1`, `query hello world` asks \"hello world\" in c1, unless there is a conversation `hello`.",
        ),
        Usage(
            "log", "[N]", "the last N decided operations that this node applied", "log 20", 0, 1, large=True,
            details="From memory: at most 1000, without no-ops and repetitions. The ballot is that of the leadership "
            "under which this node accepted the operation; \"learned\" if others told it what was decided. The time is "
            "when it was proposed, by the clock of the node that did so.",
        ),
        Usage(
            "explain", "on|off", "say in plain words what this node does to agree with the others", "explain on", 1, 1,
            details="One line for each step of the protocol; heartbeats are left out.",
        ),
        Usage(
            "export", f"C FILE [{FORCE}]", "write a conversation to a .md or .json file", "export c1 talk.md", 2, 2,
            text=True, large=True,
            details=f"Does not overwrite a file without {FORCE}. After `use C`, C may be left out.",
        ),
        Usage(
            "import", f"FILE [C] [{CHOSEN}]", "make a conversation of a .json export, called C", "import talk.json c2",
            1, 3,
            details="All of it is one operation: it comes in as a whole or not at all. No LLM is asked. A question "
            f"that was open comes in as given up. With {CHOSEN} only the answers that were chosen come in.",
        ),
        Usage("quiet", "", "show less of what happens elsewhere: only answers to your own questions", "quiet"),
        Usage("normal", "", "show what happens elsewhere, briefly", "normal"),
        Usage("verbose", "", "show all that happens elsewhere", "verbose"),
        Usage("status", "", "what this node knows of the cluster", "status", at_once=True),
    ]
)
