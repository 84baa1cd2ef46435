"""Classic mistakes in consensus code, put into a copy of the core: whoever trusts the swarm should know that it catches
them. They are written down in mutants.txt, like patches.

`python -m tests.simulation.mutants [--search] [NAME ...]` lets the swarm loose on each and prints which checker caught
it, and after how many runs. A patch must fit exactly once: a refactoring that makes a mutant meaningless is noticed.

This file must not import the core: the patched source is loaded under its name, in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

HOUSE = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_suffix(".txt")
HEAD = re.compile(r"== (?P<name>\S+)(?: seed (?P<seed>\d+))?")


class Patch(NamedTuple):
    """In file `path` (relative to the house), the lines `old` give way to `new`."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    """`seed` is one that is known to catch it: a hint, good until the core or the swarm changes."""

    name: str
    mistake: str
    patches: tuple[Patch, ...]
    seed: int | None


def parse(text: str) -> Iterator[Mutant]:
    """Reads mutants: a head, a sentence, then for each patch the file and its lines, kept, taken out (-) or put in (+).
    Raises ValueError for anything else."""
    for block in text.strip().split("\n\n"):
        head, mistake, *lines = block.split("\n")
        match = HEAD.fullmatch(head)
        if match is None or not lines or not lines[0].startswith("@@ "):
            raise ValueError(f"not a mutant: {block}")
        patches: list[Patch] = []
        for line in lines:
            kind, rest = line[:1], line[1:] + "\n"
            if line.startswith("@@ "):
                patches.append(Patch(line[3:], "", ""))
                continue
            if kind not in (" ", "-", "+"):
                raise ValueError(f"{match['name']}: neither kept nor changed: {line}")
            path, old, new = patches[-1]
            patches[-1] = Patch(path, old + (rest if kind != "+" else ""), new + (rest if kind != "-" else ""))
        yield Mutant(match["name"], mistake, tuple(patches), int(match["seed"]) if match["seed"] else None)


MUTANTS = {mutant.name: mutant for mutant in parse(FILE.read_text())}


class _PatchingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the patched modules before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self._sources = patched(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        name = fullname.replace(".", "/") + ".py"
        if name not in self._sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=name)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.replace(".", "/") + ".py"
        exec(compile(self._sources[name], name, "exec"), module.__dict__)


def patched(mutant: Mutant) -> dict[str, str]:
    """The sources with the mistake in them, by file. Raises ValueError for a patch that does not fit exactly once."""
    sources: dict[str, str] = {}
    for path, old, new in mutant.patches:
        source = "\n" + (sources.get(path) or (HOUSE / path).read_text())
        count = source.count("\n" + old)
        if count != 1:
            raise ValueError(f"{mutant.name} fits {count} times in {path}:\n{old}")
        sources[path] = source.replace("\n" + old, "\n" + new)[1:]
    return sources


def infect(name: str) -> None:
    """From now on this process has the mutant in its core, which must not be loaded yet."""
    loaded = [module for module in sys.modules if module.split(".")[0] == "paxos"]
    if loaded:
        raise ValueError(f"too late: {loaded} are loaded")
    if name not in MUTANTS:
        raise ValueError(f"no mutant {name}; there are {', '.join(MUTANTS)}")
    sys.meta_path.insert(0, _PatchingFinder(MUTANTS[name]))


DIRECTED = 0
"""Instead of a seed: a scenario of directed.py."""


class Catch(NamedTuple):
    seed: int
    checker: str
    complaint: str


def hunt(name: str, first: int, runs: int) -> Catch | None:
    """In a process of its own: what the first seed that catches it, of `runs` from `first` on, says of it.
    Raises RuntimeError if that process fails, or if the core as it is fails at that seed too."""
    command = [sys.executable, "-m", "tests.simulation.mutants", "--here", "--first", str(first), "--runs", str(runs)]
    command.append(name)
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    if done.returncode != CAUGHT:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    seed, checker, complaint = done.stdout.split("\t", 2)
    if int(seed) != DIRECTED:
        _must_pass(int(seed))
    return Catch(int(seed), checker, complaint.strip())


def _must_pass(seed: int) -> None:
    """In this process the core is as it is."""
    from tests.simulation.plan import draw
    from tests.simulation.scenario import execute

    run = execute(draw(seed))
    if run.checker is not None:
        raise RuntimeError(f"the core itself fails at seed {seed}: {run.checker}: {run.complaint}")


CAUGHT = 3
"""The exit code of a process in which a mutant was caught."""


def _hunt_here(name: str, first: int, runs: int) -> int:
    infect(name)
    # Only now, as these load the core.
    from tests.simulation.directed import SCENARIOS
    from tests.simulation.plan import draw
    from tests.simulation.scenario import execute

    if name in SCENARIOS:
        try:
            SCENARIOS[name]()
        except Exception as violation:  # noqa: BLE001  of a checker, or whatever the core raises
            print(DIRECTED, type(violation).__name__, violation, sep="\t")
            return CAUGHT
    for seed in range(first, first + runs):
        run = execute(draw(seed))
        if run.checker is not None:
            print(seed, run.checker, run.complaint, sep="\t")
            return CAUGHT
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Lets the swarm loose on mutants of the core.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them if none is given")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--note", action="store_true", help="note the seeds that caught them in mutants.txt")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return _hunt_here(options.names[0], options.first, options.runs)
    names = options.names or list(MUTANTS)
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as threads:
        catches = threads.map(lambda name: hunt(name, options.first, options.runs), names)
        for name, caught in zip(names, catches, strict=True):
            if caught is None:
                survivors += 1
                print(f"{name:34} SURVIVED {options.runs} runs", flush=True)
                continue
            how = f"after {caught.seed - options.first + 1:4} runs" if caught.seed != DIRECTED else "directed scenario"
            print(f"{name:34} {caught.checker:16} {how}: {caught.complaint.splitlines()[0][:100]}", flush=True)
            if options.note and caught.seed != DIRECTED:
                note(name, caught.seed)
    return 1 if survivors else 0


def note(name: str, seed: int) -> None:
    """Writes down the seed that caught a mutant."""
    text = re.sub(rf"^== {name}( seed \d+)?$", f"== {name} seed {seed}", FILE.read_text(), flags=re.MULTILINE)
    FILE.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
