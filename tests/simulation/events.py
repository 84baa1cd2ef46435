"""What may be done to a simulated cluster: the events of a plan (see plan.py)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Link: TypeAlias = tuple[int, int]
"""Directed: (from, to)."""

LEADER = 0
"""Instead of a node's number: the leader at that time."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Something that is done to the cluster `at` this time (virtual seconds)."""

    at: float


class Crash(Event, frozen=True, tag="crash"):
    """Node `pid` (or LEADER) dies: at once, or when it next passes `point` for the `count`th time. `down` seconds later
    it starts again. `hinted`: its peers are told at once that its connection closed."""

    pid: int
    down: float
    point: str | None = None
    count: int = 1
    hinted: bool = False
    rebooted: bool = False
    """Its clock counts from the beginning again."""


class CrashAll(Event, frozen=True, tag="crash all"):
    """The power fails; nodes start again one after the other, `apart` seconds between them."""

    down: float
    apart: float


class Wipe(Event, frozen=True, tag="wipe"):
    """Node `pid` dies and loses its disk; only if most of the others vote and have kept theirs, else it only crashes.
    `clock_back`: the new machine's calendar is far behind, and its clock counts from elsewhere. `damaged`: the disk is
    there, but not used any more, and the new one knows that it isn't the first."""

    pid: int
    down: float
    clock_back: bool = False
    damaged: bool = False


class Restore(Event, frozen=True, tag="restore"):
    """Node `pid` dies, and `down` seconds later starts with the copy of its disk that was made `age` seconds before it
    died; only if its disk may be lost, and enough others remember more of it, else with its disk as it is."""

    pid: int
    age: float
    down: float


class Swap(Event, frozen=True, tag="swap"):
    """Node `pid` runs with an empty disk for `seconds`, then with its own again; only if its disk may be lost."""

    pid: int
    seconds: float


class Stranger(Event, frozen=True, tag="stranger"):
    """In the place of node `pid`, one of another cluster runs for `seconds`. `alone`: it is that cluster's only member,
    and leads it."""

    pid: int
    seconds: float
    alone: bool = True


class Hostile(Event, frozen=True, tag="hostile"):
    """Node `pid` (or LEADER) dies, and for `seconds` frames that no honest node sends come in its name (see
    hostile.py); then it starts again."""

    pid: int
    seconds: float


class ChangeMembers(Event, frozen=True, tag="members"):
    """A user of node `pid` (or LEADER) asks for a change (one of paxos.messages.Change) in `member`."""

    pid: int
    change: int
    member: int


class Upgrade(Event, frozen=True, tag="upgrade"):
    """Node `pid` is stopped, and starts with this release."""

    pid: int
    down: float


class Pause(Event, frozen=True, tag="pause"):
    """Node `pid` (or LEADER) is paused for `seconds`; its sockets and its clock are not."""

    pid: int
    seconds: float


class Stall(Event, frozen=True, tag="stall"):
    """The disk of node `pid` (or LEADER) completes nothing for `seconds`."""

    pid: int
    seconds: float


class Fail(Event, frozen=True, tag="fail"):
    """The next commit of node `pid` (or LEADER) fails, and may be on disk in part: the process must stop. It is gone
    after `lingers` seconds, and starts again after `down` more."""

    pid: int
    lingers: float
    down: float


class Leave(Event, frozen=True, tag="leave"):
    """The user of node `pid` (or LEADER) types `exit`. What is waiting for the disk is still written; for the rest see
    Fail."""

    pid: int
    lingers: float
    down: float


class Cut(Event, frozen=True, tag="cut"):
    """These links carry nothing for `seconds`."""

    links: tuple[Link, ...]
    seconds: float


class Depose(Event, frozen=True, tag="depose"):
    """All nodes get a hint that the leader is gone; for `cut_s` most nodes cannot hear it either."""

    cut_s: float
    spared: tuple[int, ...]


class Storm(Event, frozen=True, tag="storm"):
    """The network behaves like this for `seconds`."""

    loss: float
    delay: float
    straggle: float
    straggle_s: float
    seconds: float


class Hint(Event, frozen=True, tag="hint"):
    """Node `pid` gets a hint, right or wrong, that `peer` is gone."""

    pid: int
    peer: int


class Use(Event, frozen=True, tag="use"):
    """A user of node `pid` types a command. `dice` decides what is chosen among what the user sees."""

    pid: int
    user: int
    op: str
    context: str = ""
    dice: int = 0


AnyEvent: TypeAlias = (
    Crash | CrashAll | Wipe | Restore | Swap | Stranger | Hostile | ChangeMembers | Upgrade | Pause | Stall | Fail
    | Leave | Cut | Depose | Storm | Hint | Use
)
