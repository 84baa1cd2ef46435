"""Classic mistakes in consensus code, put into a copy of the core, its driver and its disk: whoever trusts the
checkers should know that they see them. The mutants are written down in mutants.txt, like patches. A patch must fit
exactly once: a refactoring that makes a mutant meaningless is detected.

Each is caught by the first runs of the swarm or, if those would hit it too rarely, by a scene (see directed.py).
`python -m tests.simulation.mutants [NAME ...]` prints which checker caught it, and after how many runs or by which
scene; `--swarm` uses only the swarm.

Each is hunted in a process of its own: a fork of one that has loaded everything, in which the bodies of the patched
functions are replaced (see in_place.py), or, where a patch changes more than such bodies, a new one that loads the
patched source under its name. So this file must not import the core.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import multiprocessing
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.simulation.in_place import replace, replaceable

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_suffix(".txt")
HEAD = re.compile(r"== (?P<name>\S+)")


class Patch(NamedTuple):
    """In file `path`, the lines `old` give way to `new`."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    name: str
    mistake: str
    patches: tuple[Patch, ...]


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
        yield Mutant(match["name"], mistake, tuple(patches))


MUTANTS = {mutant.name: mutant for mutant in parse(FILE.read_text())}


class _PatchingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the patched modules before any other finder does."""

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


def _source(path: str) -> str:
    return (ROOT / path).read_text()


def patched(mutant: Mutant) -> dict[str, str]:
    """The sources with the mistake in them, by file. Raises ValueError for a patch that does not fit exactly once."""
    sources: dict[str, str] = {}
    for path, old, new in mutant.patches:
        source = "\n" + (sources.get(path) or _source(path))
        count = source.count("\n" + old)
        if count != 1:
            raise ValueError(f"{mutant.name} fits {count} times in {path}:\n{old}")
        sources[path] = source.replace("\n" + old, "\n" + new)[1:]
    return sources


def infect(name: str) -> None:
    """From now on this process has the mutant in it; what it patches must not be loaded yet."""
    if name not in MUTANTS:
        raise ValueError(f"no mutant {name}; there are {', '.join(MUTANTS)}")
    packages = {path.split("/")[0] for path, _, _ in MUTANTS[name].patches}
    loaded = [module for module in sys.modules if module.split(".")[0] in packages]
    if loaded:
        raise ValueError(f"too late: {loaded} are loaded")
    sys.meta_path.insert(0, _PatchingFinder(MUTANTS[name]))


RUNS = 60
"""Of the swarm, from seed 1: in these a mutant without a story must be caught."""

KNOWN_RUNS = {
    "silence-changes-nothing": 26, "retry-of-one-drops-all": 12, "retry-of-one-counts-for-all": 12,
    "key-of-the-last-question": 10, "retry-of-a-closed-turn": 17, "retry-lets-earlier-answers-in": 9,
    "accepts-not-repeated": 9, "reads-not-waited-for": 7,
}
"""The runs that catch these mutants, which many before them do not: they are tried first."""

ETCD = "etcd-"
"""How the names of mutants of that engine begin."""

CAUGHT = 3
"""The exit code of a process in which a mutant was caught."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.simulation.directed", "tests.simulation.scenes_etcd", "tests.simulation.scenario"])


class Catch(NamedTuple):
    how: str
    """The first run of the swarm that caught it, or the scene."""
    checker: str
    complaint: str


def hunt(name: str, runs: int = RUNS, swarm: bool = False) -> Catch | None:
    """In a process of its own: who catches the mutant, by its story or, if it has none (or `swarm` is set), in so many
    runs. Raises RuntimeError if that process fails (a story may not get to where it wanted to be), or if the core as it
    is fails in that run too."""
    mutant = MUTANTS[name]
    bodies_only = all(replaceable(_source(path), source) for path, source in patched(mutant).items())
    caught = hunt_forked(name, runs, swarm) if bodies_only else hunt_loading(name, runs, swarm)
    if caught is not None and caught.how.isdigit():
        _must_pass(int(caught.how))
        return caught._replace(how=f"run {caught.how}")
    return caught


def hunt_loading(name: str, runs: int, swarm: bool) -> Catch | None:
    """In a process that loads the patched source."""
    command = [sys.executable, "-m", "tests.simulation.mutants", "--here", "--runs", str(runs), name]
    if swarm:
        command.append("--swarm")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    if done.returncode != CAUGHT:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    how, checker, complaint = done.stdout.split("\t", 2)
    return Catch(how, checker, complaint.strip())


def hunt_forked(name: str, runs: int, swarm: bool) -> Catch | None:
    """In a fork of a process that has loaded the unmodified core."""
    mine, its = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_fork, args=(its, name, runs, swarm))
    process.start()
    its.close()
    try:
        caught: Catch | str | None = mine.recv()
    except EOFError:
        caught = "it ended without a word"
    finally:
        mine.close()
        process.join()
    if isinstance(caught, str):
        raise RuntimeError(f"the process with {name} in it failed:\n{caught}")
    return caught


def _fork(pipe: Connection, name: str, runs: int, swarm: bool) -> None:
    """Sends what came of the hunt, or what went wrong."""
    said = io.StringIO()
    caught: Catch | str | None
    with contextlib.redirect_stderr(said):
        try:
            replace_loaded(name)
            caught = _hunt_here(name, runs, swarm)
        except Exception:  # noqa: BLE001  it is raised again by who asked
            caught = said.getvalue() + traceback.format_exc()
    pipe.send(caught)


def replace_loaded(name: str) -> None:
    """From now on this process, which has everything loaded, has the mutant in it."""
    from tests.simulation import directed, scenario, scenes_etcd  # noqa: F401  loaded already, by the preloading

    sources = {path.removesuffix(".py").replace("/", "."): (_source(path), source)
               for path, source in patched(MUTANTS[name]).items()}
    for module in sources:
        importlib.import_module(module)
    if not replace(sources):
        raise ValueError(f"{name} does not fit what is loaded")


def _must_pass(seed: int) -> None:
    """In this process the core is unmodified."""
    from tests.simulation.plan import draw
    from tests.simulation.scenario import execute

    run = execute(draw(seed))
    if run.checker is not None:
        raise RuntimeError(f"the core itself fails at seed {seed}: {run.checker}: {run.complaint}")


def _hunt_here(name: str, runs: int, swarm: bool) -> Catch | None:
    """In this process the mutant is in the core."""
    # Only now, as these load the core; and only what is needed.
    if name.startswith(ETCD):
        from tests.simulation.scenes_etcd import STORIES
    else:
        from tests.simulation.directed import STORIES
    from tests.simulation.stage import OffStage
    from tests.simulation.world import Violation

    if name not in STORIES or swarm:
        return _hunt_with_swarm(runs, KNOWN_RUNS.get(name, 1))
    story = STORIES[name]
    try:
        story()
    except OffStage:
        raise
    except Violation as violation:
        return Catch(story.__name__, type(violation).__name__, str(violation))
    except Exception as error:  # noqa: BLE001  whatever the core raises is a finding like any other
        return Catch(story.__name__, "Raised", f"{type(error).__name__}: {error}")
    return None


def _hunt_with_swarm(runs: int, first: int) -> Catch | None:
    from tests.simulation.plan import draw
    from tests.simulation.scenario import execute

    for seed in dict.fromkeys((min(first, runs), *range(1, runs + 1))):
        run = execute(draw(seed))
        if run.checker is not None:
            return Catch(str(seed), run.checker, str(run.complaint))
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Hunts mutants of the core.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them if none is given")
    parser.add_argument("--swarm", action="store_true", help="without the stories")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of the swarm, at most; {RUNS} if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        infect(options.names[0])
        caught = _hunt_here(options.names[0], options.runs, options.swarm)
        print(*(caught or ()), sep="\t")
        return CAUGHT if caught is not None else 0
    names = options.names or list(MUTANTS)
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as threads:
        catches = threads.map(lambda name: hunt(name, options.runs, options.swarm), names)
        for name, caught in zip(names, catches, strict=True):
            if caught is None:
                survivors += 1
                print(f"{name:34} SURVIVED", flush=True)
            else:
                complaint = caught.complaint.splitlines()[0][:80]
                print(f"{name:34} {caught.checker:15} {caught.how:33} {complaint}", flush=True)
    print(f"{len(names) - survivors} of {len(names)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
