"""Installs what a lock file names into an environment of its own: `python launcher/install.py runtime|test|bench|fuzz`.

Run by run.sh, with any Python and nothing but its standard library. The environment is made beside its place and moved
there when it is complete: a set-up that is interrupted, or fails, leaves everything as it was. What is installed is
exactly what the lock file names, each file with its hash: by uv, or by pip where uv cannot be had.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
UV_LOCK = ROOT / "requirements-uv.lock"
MEGABYTES = {"runtime": 460, "test": 560, "bench": 85, "fuzz": 155}
"""What is said before the first set-up, which then says what it really was."""
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InstallError(Exception):
    """One line for the user: what is wrong and what to do."""


class _Interrupted(BaseException):
    """A signal asks to leave."""


@dataclass(frozen=True)
class Environment:
    """Where a lock file is installed. A copy of the lock file in there says that all of it is."""

    name: str
    folder: Path
    lock: Path
    includes: tuple[Path, ...] = ()
    """Lock files whose packages this one names, too."""

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def is_complete(self) -> bool:
        mark = self.folder / self.lock.name
        return self.python.exists() and mark.exists() and mark.read_bytes() == self.lock.read_bytes()

    def has_all_packages(self) -> bool:
        """Whether everything is there already, whoever installed it. Packages that only some systems need count as
        there."""
        code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
        with contextlib.suppress(OSError):
            listed = subprocess.run([self.python, "-c", code], capture_output=True, encoding="utf-8")
            there = {(_normal(name), version) for name, _, version in map(_parted, listed.stdout.splitlines())}
            return listed.returncode == 0 and needed(self.lock.read_text("utf-8")) <= there
        return False

    def mark_complete(self) -> None:
        for lock in (*self.includes, self.lock):
            (self.folder / lock.name).write_bytes(lock.read_bytes())


RUNTIME = Environment("runtime", ROOT / ".venv", ROOT / "requirements.lock")
TEST = Environment("test", ROOT / ".venv", ROOT / "requirements-test.lock", includes=(RUNTIME.lock,))
BENCH = Environment("bench", ROOT / ".venv-bench", ROOT / "bench" / "requirements.lock")
FUZZ = Environment("fuzz", ROOT / ".venv-fuzz", ROOT / "tests" / "fuzz" / "requirements.lock")
ENVIRONMENTS = {environment.name: environment for environment in (RUNTIME, TEST, BENCH, FUZZ)}


def needed(lock: str) -> set[tuple[str, str]]:
    """Name and version of every package that a lock file names for all systems."""
    named = (line.split()[0] for line in lock.splitlines() if line[:1].isalnum() and "==" in line and ";" not in line)
    return {(_normal(name), version) for name, _, version in (word.partition("==") for word in named)}


def install(environment: Environment) -> None:
    """Makes the environment complete. Raises InstallError."""
    with _alone(environment.folder):
        if environment.is_complete():  # another set-up has just done it
            return
        if environment.has_all_packages():
            environment.mark_complete()
            return
        _make(environment)


def _make(environment: Environment) -> None:
    size = f"once; about {MEGABYTES[environment.name]} MB"
    print(f"Installing into {environment.folder.name} ({size}) ...", file=sys.stderr)
    began = time.monotonic()
    making = environment.folder.with_name(f"{environment.folder.name}.making")
    draft = Environment(environment.name, making, environment.lock, environment.includes)
    _remove(making)
    try:
        tool = _fill(draft)
        draft.mark_complete()
        _name_in_scripts(making, environment.folder)
        _move_into_place(making, environment.folder)
    finally:
        _remove(making)
    megabytes = sum(path.lstat().st_size for path in environment.folder.rglob("*")) // 1_000_000
    print(f"Installed {megabytes} MB in {time.monotonic() - began:.0f} s, with {tool}.", file=sys.stderr)


def _fill(draft: Environment) -> str:
    """Returns what it was done with."""
    log = draft.folder.with_name(f"{draft.folder.name}.log")
    path_uv = shutil.which("uv")
    lock = ["--no-deps", "--require-hashes", "-r", str(draft.lock)]
    try:
        made = _succeeds([sys.executable, "-m", "venv", str(draft.folder)], log)
        if not made and not (path_uv and _succeeds(
            [path_uv, "venv", "-q", "--clear", "--seed", "--python", sys.executable, str(draft.folder)], log
        )):
            raise InstallError(
                f"{sys.executable} cannot create a virtual environment: install its venv module "
                "(Debian: apt install python3-venv)"
            )
        pip = [str(draft.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        uv = path_uv
        if uv is None and _succeeds([*pip, "--no-deps", "--require-hashes", "-r", str(UV_LOCK)], log):
            uv = str(draft.folder / "bin" / "uv")
        if uv and _succeeds([uv, "pip", "install", "-q", "--python", str(draft.python), *lock], log):
            return "uv"
        if _succeeds([*pip, *lock], log):
            return "pip"
        last = " ".join(log.read_text(errors="replace").split("\n")[-4:]).strip()
        raise InstallError(f"installation failed (network down?): {last}")
    finally:
        log.unlink(missing_ok=True)


def _succeeds(command: list[str], log: Path) -> bool:
    """Runs a command whose output goes to a file, without settings that would have it install elsewhere."""
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "UV_SYSTEM_PYTHON")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**environment, "PIP_USER": "0", "UV_PYTHON_DOWNLOADS": "never"},
        )
    try:
        return process.wait() == 0
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # what it has started writes into the same folder
        process.wait()
        raise


def _name_in_scripts(making: Path, final: Path) -> None:
    """Scripts name the folder in which they were made."""
    for path in (making / "pyvenv.cfg", *(making / "bin").iterdir()):
        content = b"" if path.is_symlink() or path.stat().st_size > 1_000_000 else path.read_bytes()
        if os.fsencode(making) in content:
            path.write_bytes(content.replace(os.fsencode(making), os.fsencode(final)))


def _move_into_place(making: Path, final: Path) -> None:
    old = final.with_name(f"{final.name}.old")
    _remove(old)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    if final.exists() or final.is_symlink():
        final.rename(old)
    making.rename(final)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One set-up at a time. Raises InstallError."""
    try:
        file = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InstallError(
            f"cannot install into {folder}: {error.strerror}; copy {folder.parent} to where you may write, and run it "
            "there"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def _leave(number: int, frame: FrameType | None) -> None:
    for sign in _SIGNALS:  # nothing interrupts the tidying up
        signal.signal(sign, signal.SIG_IGN)
    raise _Interrupted


def main(arguments: list[str]) -> int:
    for sign in _SIGNALS:
        signal.signal(sign, _leave)
    try:
        install(ENVIRONMENTS[arguments[0]])
    except (InstallError, OSError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_FAILED
    except _Interrupted:
        print("run.sh: interrupted; nothing was installed", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
