"""Tries inputs of one target until its time is up: python -m tests.fuzz.worker NAME SECONDS SEED FOLDER

Guided by coverage where atheris is installed, else at random. What it found is in FOLDER/NAME: `report.json`, each
fault's input in `faults`, and in `corpus` what reached new code, from which the next run goes on.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.fuzz.mutation import MOST_BYTES, mutate

PACKAGES = (
    "api", "config", "console", "engine", "kvstore", "llm", "net", "orchestrator", "paxos", "server", "storage",
)
"""Whose coverage guides."""
HANGS_S = 120
"""An input that holds the process for so long, out of reach of the interpreter, ends it."""
MOST_MEGABYTES = 2048
_REPORT_S = 0.5
_MOST_FAULTS = 50


class Fault(msgspec.Struct):
    what: str
    """The exception, and where it was raised."""
    file: str
    times: int = 1


class Report(msgspec.Struct):
    inputs: int = 0
    faults: dict[str, Fault] = {}
    """By the place that they have in common."""


class Worker:
    def __init__(self, name: str, folder: Path) -> None:
        from tests.fuzz.registry import corpus, load  # not above: what they import is to be instrumented

        self.folder = folder / name
        self.report = Report()
        self._target = load(name)
        self._stored = 0.0
        self.seeds: Sequence[bytes] = [*self._target.seeds(), *corpus(name)]
        for kind in ("faults", "corpus"):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)
        for seed in self.seeds:
            (self.folder / "corpus" / hashlib.sha1(seed).hexdigest()).write_bytes(seed)

    def attempt(self, data: bytes) -> None:
        self.report.inputs += 1
        try:
            self._target.try_out(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            self._found(data, error)
        if time.monotonic() - self._stored > _REPORT_S:
            self.store()

    def mutated(self, data: bytes, number: int) -> bytes:
        """Often a good input, changed: what libFuzzer keeps gets ever smaller."""
        random = Random(number)
        good = data if random.randrange(3) else random.choice(self.seeds)
        return mutate(good, self._target.form, random, self.seeds)

    def store(self) -> None:
        self._stored = time.monotonic()
        making = self.folder / "report.new"
        making.write_bytes(msgspec.json.encode(self.report))
        making.replace(self.folder / "report.json")

    def _found(self, data: bytes, error: Exception) -> None:
        place = place_of(error)
        known = self.report.faults.get(place)
        if known is not None:
            known.times += 1
            if len(data) >= Path(known.file).stat().st_size:
                return
        elif len(self.report.faults) >= _MOST_FAULTS:
            return
        file = self.folder / "faults" / hashlib.sha1(place.encode()).hexdigest()[:12]
        file.write_bytes(data)
        self.report.faults.setdefault(place, Fault(f"{place}: {str(error)[:300]}", str(file)))
        self.store()


def place_of(error: BaseException) -> str:
    """What two inputs have in common that show the same fault."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-2:]]
    return f"{type(error).__name__} at {' > '.join(where)}"


def _guided(name: str, seconds: int, seed: int, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(PACKAGES), enable_loader_override=False):
        worker = Worker(name, folder)

    def mutator(data: bytes, most: int, number: int) -> bytes:
        changed: bytes = atheris.Mutate(data, most) if number % 4 == 0 else worker.mutated(data, number)
        return changed[:most]

    atheris.Setup(
        [
            name, str(worker.folder / "corpus"), f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={HANGS_S}",
            f"-artifact_prefix={worker.folder / 'faults'}/", f"-rss_limit_mb={MOST_MEGABYTES}",
            f"-max_len={MOST_BYTES}", "-len_control=0",
        ],
        worker.attempt, custom_mutator=mutator,
    )
    worker.store()
    atheris.Fuzz()


def _at_random(name: str, seconds: int, seed: int, folder: Path) -> None:
    worker, random = Worker(name, folder), Random(seed)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        worker.attempt(worker.mutated(random.choice(worker.seeds), random.getrandbits(32)))
    worker.store()


def main(name: str, seconds: int, seed: int, folder: Path) -> None:
    guided = importlib.util.find_spec("atheris") is not None
    (_guided if guided else _at_random)(name, seconds, seed, folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
