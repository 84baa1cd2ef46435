"""How the operator's words become commands. Each function gets the words behind the command's name and raises
ValueError with a sentence if they are not understood."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType

from api import operator_commands as commands
from api.operator_commands import (
    LEADER,
    MAX_DELAY_MS,
    MAX_DURATION_S,
    MAX_KBPS,
    MAX_LOAD,
    MAX_RATE,
    MAX_STEPS,
    LinkEnds,
    NodeName,
)

NODE_MIN, NODE_MAX = 1, 65535

ONE_WAY = "--oneway"
FOR = "--for"
WITHIN = "--within"
STEP = "--step"
ALL = "all"

IN_BACKGROUND = "&"

_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(ms|s|m|)", re.IGNORECASE)


# ---- Links


def fail_link(words: list[str]) -> commands.FailLinkCommand:
    found = _Words.of(words, ONE_WAY, FOR)
    return commands.FailLinkCommand(link=_ends(found.words), one_way=found.one_way, for_s=found.seconds)


def fix_link(words: list[str]) -> commands.FixLinkCommand:
    found = _Words.of(words, ONE_WAY)
    return commands.FixLinkCommand(link=_ends(found.words), one_way=found.one_way)


def isolate(words: list[str]) -> commands.IsolateCommand:
    found = _Words.of(words, FOR)
    return commands.IsolateCommand(node=_only_node(found.words), for_s=found.seconds)


def partition(words: list[str]) -> commands.PartitionCommand:
    """Groups like `1,2|3,4,5`; blanks may replace commas."""
    found = _Words.of(" ".join(words).split(), FOR)
    parts = [re.split(r"[,\s]+", part) for part in " ".join(found.words).split("|")]
    groups = [[_number_of_node(word) for word in part if word] for part in parts]
    return commands.PartitionCommand(groups=groups, for_s=found.seconds)


def delay(words: list[str]) -> commands.DelayCommand:
    found = _Words.of(words, ONE_WAY, FOR)
    link, numbers = _link_and_rest(found.words, len(found.words) > 2)
    if len(numbers) > 2:
        raise ValueError("a delay and at most a jitter are expected")
    delay_ms, *jitter = [_number(word, MAX_DELAY_MS, "a number of milliseconds") for word in numbers or [""]]
    return commands.DelayCommand(
        link=link, one_way=found.one_way, for_s=found.seconds, delay_ms=delay_ms, jitter_ms=sum(jitter)
    )


def _rate(make: Callable[..., Any], words: list[str]) -> Any:
    found = _Words.of(words, ONE_WAY, FOR)
    link, numbers = _link_and_rest(found.words, len(found.words) > 1)
    if len(numbers) > 1:
        raise ValueError("one percentage is expected")
    percent = _number("".join(numbers).removesuffix("%"), 100, "a percentage")
    return make(link=link, one_way=found.one_way, for_s=found.seconds, percent=percent)


loss: Callable[[list[str]], commands.LossCommand] = partial(_rate, commands.LossCommand)
duplicate: Callable[[list[str]], commands.DuplicateCommand] = partial(_rate, commands.DuplicateCommand)
dup: Callable[[list[str]], commands.DupCommand] = partial(_rate, commands.DupCommand)
reorder: Callable[[list[str]], commands.ReorderCommand] = partial(_rate, commands.ReorderCommand)


def bandwidth(words: list[str]) -> commands.BandwidthCommand:
    found = _Words.of(words, ONE_WAY, FOR)
    kbps, *ends = found.words or [""]
    return commands.BandwidthCommand(
        kbps=_number(kbps, MAX_KBPS, "kilobits a second"), link=_ends(ends) if ends else None,
        one_way=found.one_way, for_s=found.seconds,
    )


def seed(words: list[str]) -> commands.SeedCommand:
    return commands.SeedCommand(seed=_whole(words[0], 0, "the seed"))


# ---- Step by step


def step(words: list[str]) -> commands.StepCommand:
    return commands.StepCommand(count=_whole(words[0], 1, "N", MAX_STEPS) if words else 1)


def _message(make: Callable[..., Any], words: list[str]) -> Any:
    """`3` or `#3`."""
    return make(message=_whole(words[0].removeprefix("#"), 1, "K, the number of a message that waits,"))


deliver: Callable[[list[str]], commands.DeliverCommand] = partial(_message, commands.DeliverCommand)
repeat: Callable[[list[str]], commands.RepeatCommand] = partial(_message, commands.RepeatCommand)
drop: Callable[[list[str]], commands.DropCommand] = partial(_message, commands.DropCommand)


def slow(words: list[str]) -> commands.SlowCommand:
    rate = _number(words[0], MAX_RATE, "messages a second")
    if not rate:
        raise ValueError("0 messages a second is hold")
    return commands.SlowCommand(rate=rate)


# ---- Nodes


def fail_node(words: list[str]) -> commands.FailNodeCommand:
    found = _Words.of(words, FOR)
    return commands.FailNodeCommand(node=_only_node(found.words), for_s=found.seconds)


def fix_node(words: list[str]) -> commands.FixNodeCommand:
    return commands.FixNodeCommand(node=_only_node(words))


def pause_node(words: list[str]) -> commands.PauseNodeCommand:
    found = _Words.of(words, FOR)
    return commands.PauseNodeCommand(node=_only_node(found.words), for_s=found.seconds)


def resume_node(words: list[str]) -> commands.ResumeNodeCommand:
    return commands.ResumeNodeCommand(node=_only_node(words))


def add_node(words: list[str]) -> commands.AddNodeCommand:
    return commands.AddNodeCommand(node=_whole(words[0], NODE_MIN, "N", NODE_MAX))


def remove_node(words: list[str]) -> commands.RemoveNodeCommand:
    return commands.RemoveNodeCommand(node=_only_node(words))


def replace_node(words: list[str]) -> commands.ReplaceNodeCommand:
    return commands.ReplaceNodeCommand(node=_number_of_node(words[0]))


# ---- The rest


def watch(words: list[str]) -> commands.WatchCommand:
    word = words[0].lower() if words else ""
    if word not in ("", "on", "off"):
        raise ValueError(f"'{words[0][:40]}' is neither on nor off")
    return commands.WatchCommand(on={"on": True, "off": False}.get(word))


def explain(words: list[str]) -> commands.ExplainAllCommand:
    on, *where = (word.lower() for word in words)
    if on not in ("on", "off"):
        raise ValueError(f"'{words[0][:40]}' is neither on nor off")
    if where != [ALL]:
        raise ValueError(f"explain {on} {ALL} is about every node; explain {on} about one is typed there")
    return commands.ExplainAllCommand(on=on == "on")


def history(words: list[str]) -> commands.HistoryCommand:
    if not words:
        return commands.HistoryCommand()
    return commands.HistoryCommand(count=_whole(words[0], 1, "N"))


def script(words: list[str]) -> commands.ScriptCommand:
    file = words[0].removesuffix(STEP).rstrip()
    if not file:
        raise ValueError("a file or a scenario is missing")
    return commands.ScriptCommand(file=file, paused=words[0] != file)


def next_lines(words: list[str]) -> commands.NextCommand:
    return commands.NextCommand(count=_whole(words[0], 1, "N", MAX_STEPS) if words else 1)


def wait(words: list[str]) -> commands.WaitCommand:
    found = _Words.of(words, WITHIN)
    within_s = commands.WITHIN_S if found.seconds is UNSET else found.seconds
    what, *rest = [word.lower() for word in found.words] or [""]
    match what, rest:
        case "leader", []:
            return commands.WaitCommand(what="leader", within_s=within_s)
        case "leader", ["new"]:
            return commands.WaitCommand(what="leader", new=True, within_s=within_s)
        case "leader", [numbers] if re.fullmatch(r"[\d,]+", numbers):
            among = tuple(_number_of_node(word) for word in numbers.split(",") if word)
            return commands.WaitCommand(what="leader", among=among, within_s=within_s)
        case "converged", []:
            return commands.WaitCommand(what="converged", within_s=within_s)
        case "applied", [count]:
            operations = _whole(count, 1, "N, a log position,")
            return commands.WaitCommand(what="applied", operations=operations, within_s=within_s)
        case "behind", [node, count]:
            operations = _whole(count, 1, "COUNT, of operations,")
            number = _number_of_node(node)
            return commands.WaitCommand(what="behind", node=number, operations=operations, within_s=within_s)
        case "answers", [_]:  # ids of conversations keep their case
            return commands.WaitCommand(what="answers", context=found.words[1], within_s=within_s)
    raise ValueError(f"'{' '.join(words)[:40]}' is not something to wait for")


def sleep(words: list[str]) -> commands.SleepCommand:
    return commands.SleepCommand(seconds=_duration(words[0]))


def say(words: list[str]) -> commands.SayCommand:
    return commands.SayCommand(text=words[0])


def at_node(words: list[str]) -> commands.NodeCommand:
    """`N: COMMAND`, with & at the end if the script must not wait for the answer."""
    number, colon, line = (part.strip() for part in words[0].partition(":"))
    background = line.endswith(f" {IN_BACKGROUND}")
    line = line.removesuffix(IN_BACKGROUND).strip() if background else line
    if not colon or not line:
        raise ValueError("a node, a colon and a command are expected")
    return commands.NodeCommand(node=_node(number), line=line, background=background)


def load(words: list[str]) -> commands.LoadCommand:
    count = _whole(words[0], 1, "COUNT", MAX_LOAD)
    return commands.LoadCommand(count=count, node=_node(words[1]) if words[1:] else LEADER)


# ---- Words


class _Words(NamedTuple):
    """The words of a command without its flags, and the flags."""

    words: list[str]
    one_way: bool
    seconds: float | UnsetType
    """The value of `--for` or `--within`."""

    @staticmethod
    def of(words: Sequence[str], *allowed: str) -> _Words:
        plain: list[str] = []
        one_way = False
        seconds: float | UnsetType = UNSET
        rest = iter(words)
        for word in rest:
            flag = word.lower()
            if not flag.startswith("--"):
                plain.append(word)
            elif flag not in allowed:
                raise ValueError(f"'{word[:40]}' is not an option of this command")
            elif flag == ONE_WAY:
                one_way = True
            else:
                seconds = _duration(next(rest, ""))
        return _Words(plain, one_way, seconds)


def _number_of_node(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 9):
        raise ValueError(f"'{word[:40]}' is not the number of a node")
    return int(word)


def _node(word: str) -> NodeName:
    return LEADER if word.lower() == LEADER else _number_of_node(word)


def _only_node(words: Sequence[str]) -> NodeName:
    if len(words) != 1:
        raise ValueError("one node is expected")
    return _node(words[0])


def _ends(words: Sequence[str]) -> LinkEnds:
    if len(words) != 2:
        raise ValueError("two nodes are expected")
    return _node(words[0]), _node(words[1])


def _link_and_rest(words: Sequence[str], has_link: bool) -> tuple[LinkEnds | None, Sequence[str]]:
    return (_ends(words[:2]), words[2:]) if has_link else (None, words)


def _duration(word: str) -> float:
    """Seconds: `10s`, `500ms`, `2m`, or a number of seconds."""
    match = _DURATION.fullmatch(word)
    seconds = float(match.group(1)) * _UNITS[match.group(2).lower()] if match else math.nan
    if not 0 < seconds <= MAX_DURATION_S:
        raise ValueError(f"'{word[:40]}' is not a duration like 500ms, 10s or 2m")
    return seconds


def _number(word: str, most: float, unit: str) -> float:
    """A number from 0 to `most`."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise ValueError(f"'{word[:40]}' must be {unit} from 0 to {most:.15g}")
    return value


def _whole(word: str, least: int, what: str, most: int | None = None) -> int:
    """A whole number of at most 18 digits."""
    if not (word.isascii() and word.isdigit() and len(word) <= 18 and int(word) >= least):
        raise ValueError(f"{what} must be a whole number of at least {least}, not '{word[:40]}'")
    if most is not None and int(word) > most:
        raise ValueError(f"'{word}' is too large: at most {most}")
    return int(word)
