"""Classic mistakes, each as a patch of a line or a few: whoever trusts the swarm should know that it catches these.

`python -m tests.simulation.mutants [NAME ...]` hunts each mutant from seed 1 on and prints which checker caught it,
and after how many runs. A patch must fit exactly once, so that a refactoring that makes a mutant meaningless is noticed.

This file must not import the core: the patched source is loaded under its name, in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

HOUSE = Path(__file__).resolve().parents[2]


class Patch(NamedTuple):
    module: str
    old: str
    new: str


class Mutant(NamedTuple):
    name: str
    mistake: str
    patches: tuple[Patch, ...]
    seed: int
    """One that catches it: a hint, good until the core or the swarm changes."""


def _mutant(name: str, mistake: str, module: str, old: str, new: str, seed: int = 1, *more: Patch) -> Mutant:
    return Mutant(name, mistake, (Patch(module, old, new), *more), seed)


MUTANTS: tuple[Mutant, ...] = (
    # ---- Disk before word
    _mutant("promise-before-disk", "A Promise leaves before it is on disk", "paxos.replica",
            "            self._refresh(now)\n        self._vouch(sender, reply)\n",
            "            self._refresh(now)\n        self._out.send_first.append((sender, reply))\n"),
    _mutant("accepted-before-disk", "An Accepted leaves before it is on disk", "paxos.replica",
            "        if reply is not None and self.registration.votes:\n            self._vouch(sender, reply)\n",
            "        if reply is not None and self.registration.votes:\n"
            "            self._out.send_first.append((sender, reply)) if sender != self.pid "
            "else self._vouch(sender, reply)\n"),
    _mutant("claim-not-stored", "A node claims a leadership without storing that it did", "paxos.replica",
            "        self.acceptor.promise(ballot(leadership))\n"
            "        self._out.to_persist().promised = self.acceptor.promised\n",
            "        self.acceptor.promise(ballot(leadership))\n"),
    _mutant("accept-raises-no-stored-promise", "The promise implied by an Accepted is not stored", "paxos.replica",
            "        reply, fresh, entries = self.acceptor.accept(message)\n        if fresh:\n"
            "            self._out.to_persist().promised = self.acceptor.promised\n",
            "        reply, fresh, entries = self.acceptor.accept(message)\n        if fresh:\n"),
    _mutant("entries-not-stored", "Accepted operations are not stored", "paxos.replica",
            "        if entries:\n            self._out.to_persist().entries.extend(entries)\n"
            "        if reply is not None",
            "        if reply is not None"),
    _mutant("learned-without-watermark", "Learned operations are stored without saying that they are decided",
            "paxos.replica",
            "            out.persist.decided = self._saved_decided = self.log.decided\n",
            "            self._saved_decided = self.log.decided\n"),
    # ---- Quorums
    _mutant("majority-minus-one", "Half of the nodes counts as a majority", "paxos.connectivity",
            "self.quorum = len(self.members) // 2 + 1", "self.quorum = len(self.members) // 2"),
    _mutant("promises-minus-one", "A candidate leads with one promise too few", "paxos.proposer",
            "        if len(self.promises) < self._quorum:", "        if len(self.promises) < self._quorum - 1:"),
    _mutant("accepted-minus-one", "An operation counts as decided with one vote too few", "paxos.proposer",
            "len(batch.voters) >= self._quorum", "len(batch.voters) >= self._quorum - 1"),
    _mutant("votes-counted-twice", "A vote that comes twice counts twice", "paxos.proposer",
            "        self.voters: set[int] = set()", "        self.voters: list[int] = []", 1,
            Patch("paxos.proposer", "batch.voters.add(sender)", "batch.voters.append(sender)")),
    _mutant("promises-counted-twice", "A promise that comes twice counts twice", "paxos.proposer",
            "        self.promises[sender] = message\n        if len(self.promises) < self._quorum:",
            "        self.promises[sender] = message\n        self.count = getattr(self, 'count', 0) + 1\n"
            "        if self.count < self._quorum:"),
    _mutant("stale-accepted-counted", "An Accepted for another leadership is counted", "paxos.proposer",
            "message.ballot.leadership != self.leadership or ", ""),
    _mutant("stale-promise-counted", "A Promise for another leadership is counted", "paxos.proposer",
            "message.ballot != self.ballot or ", ""),
    _mutant("promise-for-another-start-counted", "A Promise that was asked for from another position is counted",
            "paxos.proposer", "message.ballot != self.ballot or ",
            "message.ballot.leadership != self.ballot.leadership or "),
    _mutant("promises-kept-over-restart", "A candidate that asks again from later on keeps the old answers",
            "paxos.proposer", "        self.ballot = self.ballot.at(op_num)\n        self.promises = {}\n",
            "        self.ballot = self.ballot.at(op_num)\n"),
    _mutant("count-not-compared", "An Accepted for a shorter batch counts for the longer one", "paxos.proposer",
            " or message.count != len(batch.operations)", ""),
    # ---- The acceptor
    _mutant("accept-below-promise", "An acceptor accepts below its promise", "paxos.acceptor",
            "        ballot, operations = message.ballot, message.operations\n"
            "        if ballot.leadership < self.promised.leadership:\n",
            "        ballot, operations = message.ballot, message.operations\n        if False:\n"),
    _mutant("promise-below-promise", "An acceptor promises below its promise", "paxos.acceptor",
            "        ballot, log = message.ballot, self.log\n        if ballot.leadership < self.promised.leadership:\n",
            "        ballot, log = message.ballot, self.log\n        if False:\n"),
    _mutant("promise-goes-back", "A promise is replaced by a lower one", "paxos.acceptor",
            "        if ballot.leadership > self.promised.leadership:\n            self.promised = ballot",
            "        if ballot.leadership != self.promised.leadership:\n            self.promised = ballot", 1,
            Patch("paxos.acceptor",
                  "        ballot, log = message.ballot, self.log\n"
                  "        if ballot.leadership < self.promised.leadership:\n",
                  "        ballot, log = message.ballot, self.log\n        if False:\n")),
    _mutant("promise-without-accepted", "A Promise leaves out what is accepted and not decided", "paxos.acceptor",
            "log.entries_from(start), log.decided)",
            "[e for e in log.entries_from(start) if e.position <= log.decided], log.decided)"),
    _mutant("promise-without-decided", "A Promise leaves out what is decided", "paxos.acceptor",
            "log.entries_from(start), log.decided)",
            "[e for e in log.entries_from(start) if e.position > log.decided], start - 1)"),
    _mutant("promise-without-last", "A Promise leaves out the last operation", "paxos.log",
            "for position in range(start, self.last + 1) if", "for position in range(start, self.last) if"),
    _mutant("first-acceptance-kept", "An acceptor keeps what it accepted first", "paxos.log",
            "            if held is not None and held.leadership == leadership:\n",
            "            if held is not None:\n"),
    # ---- The new leader
    _mutant("lower-ballot-reproposed", "The operation of the lowest leadership is proposed again", "paxos.proposer",
            "entry.leadership > held.leadership", "entry.leadership < held.leadership"),
    _mutant("any-ballot-reproposed", "The operation seen last is proposed again, whatever its leadership",
            "paxos.proposer", "if held is None or entry.leadership > held.leadership:", "if held is None or True:"),
    _mutant("nothing-reproposed", "A new leader fills open positions with its own operations", "paxos.proposer",
            "            for position in range(self.first_open, last + 1)\n",
            "            for position in range(self.first_open, self.first_open)\n"),
    _mutant("noops-over-accepted", "A new leader fills open positions with no-ops", "paxos.proposer",
            "            highest[position].operation if position in highest else NOOP\n", "            NOOP\n"),
    _mutant("gap-closed", "A new leader moves inherited operations up instead of filling gaps", "paxos.proposer",
            "            highest[position].operation if position in highest else NOOP\n"
            "            for position in range(self.first_open, last + 1)\n",
            "            highest[position].operation\n"
            "            for position in range(self.first_open, last + 1) if position in highest\n"),
    _mutant("inherits-too-much", "What was decided meanwhile is proposed again at later positions", "paxos.replica",
            "inheritance.open[known:]", "inheritance.open"),
    _mutant("leadership-reused", "A node stands with the highest number that it knows, not a higher one",
            "paxos.election", "        return (highest[0] + 1, pid)", "        return (max(1, highest[0]), pid)"),
    # ---- Decisions
    _mutant("gap-skipped", "What a quorum accepted counts as decided together with all before it", "paxos.proposer",
            "        while (batch := self._flying.get(self.decided + 1)) is not None and "
            "len(batch.voters) >= self._quorum:\n            self.decided = batch.last\n"
            "            del self._flying[batch.first]\n",
            "        while len(batch.voters) >= self._quorum:\n            self.decided = max(self.decided, batch.last)\n"
            "            del self._flying[batch.first]\n            break\n"),
    _mutant("decide-ignores-leadership", "A watermark makes whatever is held decided", "paxos.log",
            "if entry is None or entry.leadership != leadership:", "if entry is None:"),
    _mutant("learns-over-a-gap", "Decided operations are taken although some before them are missing", "paxos.log",
            "        if start > self.decided + 1:\n            return fresh\n", "", 1,
            Patch("paxos.replica", "        if message.start <= self.log.decided + 1:\n", "        if True:\n")),
    # ---- Exactly once
    _mutant("no-dedupe", "Repetitions are applied", "paxos.learner",
            "if operation.is_noop or not self.sessions.admit(operation):",
            "if operation.is_noop or (not self.sessions.admit(operation) and False):"),
    _mutant("sessions-not-in-snapshot", "The table of sessions does not come with a snapshot", "paxos.learner",
            "        self.sessions = Sessions(snapshot.sessions)\n", ""),
    _mutant("sessions-not-restored", "The table of sessions starts empty after a restart", "paxos.learner",
            "        self.sessions = Sessions(durable.sessions)\n", "        self.sessions = Sessions()\n"),
    _mutant("overtaking", "An operation counts although its predecessor is missing", "paxos.sessions",
            "            if operation.number != number + 1:\n", "            if operation.number <= number:\n"),
    _mutant("earlier-life-counts", "An operation of an earlier life counts after one of a later", "paxos.sessions",
            "        elif operation.incarnation < incarnation or operation.number != 1:\n",
            "        elif operation.number != 1:\n"),
    # ---- Snapshots and the cut log
    _mutant("snapshot-without-position", "A snapshot is installed, and the log goes on where it was",
            "paxos.learner", "        self._log.jump(snapshot.position)\n        self.applied = snapshot.position\n",
            "        self._log.jump(snapshot.position)\n"),
    _mutant("snapshot-not-stored", "A received snapshot is not stored", "paxos.learner",
            "        persist.snapshot = snapshot\n", ""),
    _mutant("older-snapshot-installed", "A snapshot older than what is applied is installed", "paxos.replica",
            "        if snapshot is None or snapshot.position <= self.learner.applied:\n",
            "        if snapshot is None:\n"),
    _mutant("snapshots-mixed", "Pieces of two snapshots are put together", "paxos.catchup",
            "        if self._pieces and self._pieces[0].position != message.position:\n            self._pieces = []\n",
            ""),
    _mutant("cut-too-far", "The log is cut beyond the stored snapshot", "paxos.replica",
            "        upto = position - self.limits.keep\n", "        upto = self.learner.applied\n"),
    _mutant("log-never-cut", "The log is never cut", "paxos.replica",
            "        if upto > self.log.released:\n", "        if False:\n"),
    _mutant("promise-behind-the-cut", "A Promise is given although part of what it must show is cut off",
            "paxos.acceptor", "        if start <= log.released or log", "        if log"),
    # ---- Reads
    _mutant("reads-without-quorum", "The leader answers reads without asking anybody", "paxos.reads",
            "        if len(self._voters) < self._quorum:\n", "        if False:\n"),
    _mutant("reads-before-inheritance", "A new leader answers reads with what it knows as decided", "paxos.proposer",
            "        self.barrier = decided + len(inherited)\n", "        self.barrier = 0\n"),
    _mutant("reads-confirmed-by-old-round", "Confirmations of an earlier round count", "paxos.reads",
            "if not self.running or message.count != self.count:", "if not self.running:"),
    _mutant("reads-not-waited-for", "A read is answered before its position is applied", "paxos.reads",
            "for ticket, position in self._placed if position <= applied]", "for ticket, position in self._placed]"),
    _mutant("reads-of-an-earlier-life", "An answer to an earlier life's read counts", "paxos.reads",
            "while life == self._life and self._unplaced", "while self._unplaced"),
    _mutant("higher-leader-confirms", "An acceptor confirms a leader although it promised a higher one",
            "paxos.acceptor", "        if message.ballot.leadership < self.promised.leadership:\n"
            "            return self._reject(message.ballot)\n        return Confirmed",
            "        return Confirmed"),
    # ---- Disks lost
    _mutant("wiped-node-votes", "A node that lost its disk votes", "paxos.standing",
            "                self.standing = Standing.LEARNER\n", "                self._known_by.add(sender)\n"),
    _mutant("new-node-votes-at-once", "A new disk votes without asking anybody", "paxos.standing",
            "self.standing is Standing.NEW and (majority_of_others or founding_quorum)",
            "self.standing is Standing.NEW"),
    _mutant("learner-votes", "Who may not vote does", "paxos.replica",
            "        if reply is not None and self.registration.votes:\n", "        if reply is not None:\n"),
    _mutant("standing-not-stored", "A node votes before it has stored that it may", "paxos.replica",
            "            self._out.to_persist().standing = Standing.VOTER\n", "            pass\n"),
    # ---- Liveness
    _mutant("forwarded-and-forgotten", "A forwarded operation is never sent again", "paxos.queue",
            "        elif self._sent and self._retry.due(now, retry_s):\n            self._sent = 0\n", ""),
    _mutant("accepts-not-repeated", "An Accept is never sent again", "paxos.replica",
            "                self._resend(batch, now)\n", "                pass\n"),
    _mutant("prepares-not-repeated", "A Prepare is never sent again", "paxos.replica",
            "            elif self._prepare_retry.due(now, patience):\n                self._ask_promises(now)\n", ""),
    _mutant("step-down-missing", "A leader stays one although a higher one is known", "paxos.replica",
            "        if self._claim != NOBODY and max(self._follows, self.acceptor.promised.leadership) > self._claim:\n"
            "            self._step_down()\n", ""),
    _mutant("majority-not-needed", "Leadership does not follow connectivity", "paxos.election",
            "                  if row.leading != NOBODY and self._net.reaches_majority(row.pid))",
            "                  if row.leading != NOBODY and row.pid in self._net.fresh)"),
    _mutant("never-content", "A node stands although there is a good leader", "paxos.election",
            "(highest != NOBODY and self.leader() >= highest)", "(highest != NOBODY and self.leader() == (0, 1))"),
    _mutant("no-routing", "Messages only go to those who can be reached directly", "paxos.replica",
            "        if hop is None or hop == to:\n", "        if True:\n"),
    _mutant("nobody-catches-up", "A node that is behind does not ask", "paxos.replica",
            "        if request is not None:\n            self._route(*request, now)\n", ""),
    # ---- Bounds
    _mutant("no-horizon", "An acceptor stores operations however far ahead", "paxos.acceptor",
            "        if ballot.op_num + len(operations) - 1 > self.log.decided + self._limits.horizon:\n",
            "        if False:\n"),
    _mutant("no-pipeline-bound", "As many batches fly as there are", "paxos.proposer",
            " and len(self._flying) < self._limits.pipeline:", ":"),
    # ---- What the swarm found in the core as it stood
    _mutant("found-caught-up-candidate", "A candidate that caught up before it was refused never asks again",
            "paxos.replica", "            self.candidate.lacks = max(self.candidate.lacks, message.decided)\n"
            "            if message.decided > self.log.decided:\n",
            "            if message.decided > self.log.decided:\n"
            "                self.candidate.lacks = max(self.candidate.lacks, message.decided)\n"),
    _mutant("found-last-words", "A lost disk with a clock set back is outranked by its own last words",
            "paxos.replica", "            if row.pid == self.pid and row.version > self._version:\n",
            "            if False:\n"),
    _mutant("found-own-vote-refused", "A leader does not offer a batch again to its own acceptor", "paxos.replica",
            "        if self.pid not in batch.voters:\n", "        if False:\n"),
)


class _PatchingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the patched modules before anybody else does."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(patch.module == fullname for patch in self._patches):
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(source_file(fullname)))

    def exec_module(self, module: ModuleType) -> None:
        file = source_file(module.__name__)
        module.__file__ = str(file)
        exec(compile(patched(module.__name__, self._patches), str(file), "exec"), module.__dict__)


def source_file(module: str) -> Path:
    return HOUSE.joinpath(*module.split(".")).with_suffix(".py")


def patched(module: str, patches: Sequence[Patch]) -> str:
    """The module's source with the mistake in it. Raises ValueError for a patch that does not fit exactly once."""
    source = source_file(module).read_text()
    for patch in patches:
        if patch.module == module:
            count = source.count(patch.old)
            if count != 1:
                raise ValueError(f"fits {count} times in {module}: {patch.old}")
            source = source.replace(patch.old, patch.new)
    return source


def find(name: str) -> Mutant:
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise ValueError(f"no mutant {name}; there are {', '.join(mutant.name for mutant in MUTANTS)}")


def infect(name: str) -> None:
    """From now on this process has the mutant in its core, which must not be loaded yet."""
    loaded = [module for module in sys.modules if module.split(".")[0] == "paxos"]
    if loaded:
        raise ValueError(f"too late: {loaded} are loaded")
    sys.meta_path.insert(0, _PatchingFinder(find(name).patches))


def hunt(name: str, first: int, runs: int) -> tuple[int, str, str] | None:
    """In a process of its own: the first seed of `runs` from `first` on that catches it, by which checker, and what it
    said. Raises CalledProcessError if that process fails."""
    command = [sys.executable, "-m", "tests.simulation.mutants", "--in-this-process", "--first", str(first),
               "--runs", str(runs), name]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    if done.returncode == 0:
        return None
    seed, checker, complaint = done.stdout.split("\t", 2)
    return int(seed), checker, complaint


def _hunt_here(name: str, first: int, runs: int) -> int:
    infect(name)
    from tests.simulation.plan import draw
    from tests.simulation.scenario import execute

    for seed in range(first, first + runs):
        run = execute(draw(seed))
        if run.checker is not None:
            print(seed, run.checker, run.complaint, sep="\t")
            return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Hunts mutants of the core.")
    parser.add_argument("names", nargs="*", help="all of them if none is given")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        return _hunt_here(options.names[0], options.first, options.runs)
    survivors = 0
    for name in options.names or [mutant.name for mutant in MUTANTS]:
        caught = hunt(name, options.first, options.runs)
        if caught is None:
            survivors += 1
            print(f"{name:34} SURVIVED {options.runs} runs", flush=True)
        else:
            seed, checker, complaint = caught
            after = f"after {seed - options.first + 1:4} runs"
            print(f"{name:34} {checker:16} {after}: {complaint.strip()[:110]}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
