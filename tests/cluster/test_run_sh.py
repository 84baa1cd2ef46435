"""run.sh where things are not as usual: the configuration, the folder, the user's tmux."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.ownership import owner_of
from tests.cluster.harness import PATIENCE_S, ROOT, until
from tests.cluster.test_private_files import open_to_others
from tests.cluster.test_tmux import Desktop
from tests.free_ports import free_port

DRAFT = re.compile(r"owner\.json\.[0-9a-f]+|.*\.new.*")
"""A file that is renamed when it is written."""

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

HOSTILE = """
set -g base-index 1
set -g pane-base-index 1
set -g default-shell /bin/false
set -g default-command "exit 3"
set -g destroy-unattached on
set -g exit-unattached on
set -g remain-on-exit off
set -g automatic-rename on
set -g window-size smallest
set -g status off
set -wg synchronize-panes on
set -g update-environment ""
set -g nonsense on
set-hook -g after-new-session new-window
set-hook -g after-split-window 'select-layout even-horizontal'
"""


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.close()


def settings(desktop: Desktop, **changes: object) -> None:
    """Changes the configuration."""
    desktop.config.write_text(json.dumps({**json.loads(desktop.config.read_text()), **changes}))


def started(desktop: Desktop) -> None:
    done = desktop.run()
    assert done.returncode == 0, done.stderr
    desktop.see("1", "leader: node")


def copy_of_the_program(folder: Path) -> Path:
    """A checkout that shares what is installed."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in names:
        if name and not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    return folder


@needs_tmux
@pytest.mark.parametrize("what", ["renamed", "other port", "broken", "deleted", "release 0.1.0"])
def test_what_was_started_is_stopped_whatever_the_file_says_now(desktop: Desktop, what: str) -> None:
    started(desktop)
    match what:
        case "renamed":
            settings(desktop, cluster="other")
        case "other port":
            settings(desktop, orchestrator={"port": free_port()}, data_dir="elsewhere")
        case "broken":
            desktop.config.write_text("{")
        case "deleted":
            desktop.config.unlink()
        case _:
            session = desktop.tmux("list-sessions", "-F", "#{session_name}").strip()
            for option in ("@consensus_config", "@consensus_data"):  # which it does not set
                desktop.tmux("set-option", "-u", "-t", session, option)
    if what != "deleted":
        again = desktop.run()
        assert again.returncode == 0 and "already running" in again.stdout and len(desktop.panes()) == 6
    stopped = desktop.run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "") and "Stopped;" in stopped.stdout
    until(lambda: subprocess.run(["tmux", "ls"], env=desktop.environment, capture_output=True).returncode != 0)
    assert "not running" in desktop.run("stop").stdout


@pytest.mark.parametrize("command", ["stop", "reset"])
def test_what_runs_without_tmux_is_stopped_too(desktop: Desktop, command: str) -> None:
    settings(desktop, nodes=[{"id": 1}])
    running = subprocess.Popen(
        [str(ROOT / "run.sh"), "--no-tmux"], env=desktop.environment, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    shown = next((line for line in running.stdout if "leader: node 1" in line), None)
    assert shown is not None, running.communicate()
    if command == "stop":
        desktop.config.unlink()
    done = desktop.run(command, *(["--yes"] if command == "reset" else []))
    assert (done.returncode, done.stderr) == (0, ""), done
    assert running.wait(PATIENCE_S) == 0, running.communicate()
    assert "not running" in desktop.run("stop").stdout


@needs_tmux
def test_a_second_configuration_with_the_same_data_touches_nothing(desktop: Desktop) -> None:
    started(desktop)
    first = desktop.config
    data = first.parent / "data"
    desktop.type("1", "create kept")
    for number in "12345":
        desktop.see(number, "kept: created")
    until(lambda: (owner := owner_of(data)) and owner.cluster_id, PATIENCE_S)  # no node is still making its files
    desktop.config = first.with_name("other.json")
    desktop.config.write_text(first.read_text())
    settings(desktop, orchestrator={"port": free_port()}, data_dir="data")
    desktop.environment["CONFIG"] = str(desktop.config)
    before = {path.name for path in data.iterdir() if not DRAFT.fullmatch(path.name)}
    for arguments in ([], ["reset", "--yes"], ["--no-tmux"], ["restore", "nowhere.backup"]):
        refused = desktop.run(*arguments)
        assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1, refused
    assert before <= {path.name for path in data.iterdir()}
    assert "not running" in desktop.run("stop").stdout
    desktop.type("2", "viewall")
    desktop.see("2", "kept")

    settings(desktop, cluster="second")
    configuration = json.loads(desktop.config.read_text())
    del configuration["data_dir"]
    desktop.config.write_text(json.dumps(configuration))
    beside = desktop.run()
    assert beside.returncode == 0, beside.stderr
    until(lambda: (data / "second" / "node-5.db").exists(), PATIENCE_S)
    assert desktop.run("reset", "--yes").returncode == 0
    assert not list((data / "second").iterdir()) and (data / "node-1.db").exists()
    desktop.environment["CONFIG"] = str(first)
    assert desktop.run("stop").returncode == 0


@needs_tmux
def test_a_cluster_survives_the_users_own_settings_of_tmux(desktop: Desktop, tmp_path: Path) -> None:
    (tmp_path / ".tmux.conf").write_text(HOSTILE)
    desktop.environment["HOME"] = str(tmp_path)
    started(desktop)
    assert set(desktop.panes()) == {"", "1", "2", "3", "4", "5"}
    desktop.type("3", "create c1")
    assert "already exists" not in desktop.see("5", "c1: created"), "it was typed into one pane only"
    assert desktop.run("stop").returncode == 0


@needs_tmux
def test_from_a_path_with_spaces_through_a_link_without_a_configuration(tmp_path: Path) -> None:
    desktop = Desktop(tmp_path)
    folder = copy_of_the_program(tmp_path / "a folder #{pid} with spaces")
    example = json.loads((folder / "config.json.example").read_text())
    example.update(orchestrator={"port": free_port()}, llm={"provider": "fake"}, secret=None)
    (folder / "config.json.example").write_text(json.dumps(example))
    link = tmp_path / "consensus"
    link.symlink_to(Path(folder.name) / "run.sh")
    del desktop.environment["CONFIG"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [link, *arguments], cwd="/", env=desktop.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )

    try:
        desktop.tmux("new-session", "-d", "-s", "a  session of theirs ", "tail", "-f", "/dev/null")
        before = desktop.tmux("show-options", "-g")
        desktop.environment["OF_THIS_SHELL"] = "keys, proxies; $HOME 'and' so on"
        begun = run()
        assert begun.returncode == 0, begun.stderr
        session = begun.stdout.split()[-1]
        given = f"OF_THIS_SHELL={desktop.environment['OF_THIS_SHELL']}\n"
        assert desktop.tmux("show-environment", "-t", session, "OF_THIS_SHELL") == given, "not of tmux's first shell"
        assert desktop.tmux("show-options", "-g") == before
        for number in "12345":
            desktop.see(number, "leader: node")
        assert json.loads((folder / "config.json").read_text())["secret"], "drawn for this cluster"
        assert open_to_others(folder / "config.json") == open_to_others(folder / "data" / "demo") == []
        assert run("stop").returncode == 0
    finally:
        desktop.close()


@pytest.mark.parametrize("python", ["my python/python3", "{here}/my python/python3"])
def test_python_may_be_named_by_any_path(tmp_path: Path, python: str) -> None:
    folder = tmp_path / "clone"
    (folder / "launcher").mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "launcher" / "install.py").write_text("import sys\nprint(sys.executable)\nsys.exit(7)\n")
    (tmp_path / "my python").mkdir()
    (tmp_path / "my python" / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        [folder / "run.sh", "setup"], cwd=tmp_path, env=os.environ | {"PYTHON": python.format(here=tmp_path)},
        capture_output=True, text=True, timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"{tmp_path}/my python/python3\n"


@pytest.mark.parametrize("command", [[], ["reset", "--yes"], ["--no-tmux"], ["backup", "x"], ["restore", "x"]])
def test_a_configuration_that_is_not_there_is_told_before_anything_is_installed(
    tmp_path: Path, command: list[str]
) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "launcher", folder / "launcher")
    shutil.copy(ROOT / "run.sh", folder)
    for config in ("missing.json", str(tmp_path / "missing.json")):
        done = subprocess.run(
            [folder / "run.sh", *command], cwd=tmp_path, env={**os.environ, "CONFIG": config}, capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "missing.json" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"launcher", "run.sh"}


def test_ctrl_c_during_the_set_up_leaves_nothing(tmp_path: Path) -> None:
    folder = copy_of_the_program(tmp_path / "program")
    (folder / ".venv").unlink()
    tools, reached = tmp_path / "tools", tmp_path / "reached"
    tools.mkdir()
    os.mkfifo(reached)
    (tools / "uv").write_text(f"#!/bin/sh\necho >'{reached}'\nexec tail -f /dev/null\n")
    (tools / "uv").chmod(0o755)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"
        os.execv(folder / "run.sh", ["run.sh", "setup"])
    reached.read_text()
    os.write(terminal, b"\x03")
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while chunk := os.read(terminal, 1000):
            shown += chunk
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert shown.decode().splitlines()[-1].endswith("run.sh: interrupted; nothing was installed")
    assert [path.name for path in folder.iterdir() if path.name.startswith(".venv")] == [".venv.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_checkout_that_cannot_be_written_to_says_so_in_one_sentence(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as home:  # other users cannot look into tmp_path
        folder = Path(shutil.copytree(copy_of_the_program(tmp_path / "program"), f"{home}/program", symlinks=True))
        (folder / ".venv").unlink()
        os.chmod(home, 0o755)
        for command in ("setup", "start", "test"):
            done = subprocess.run(
                [folder / "run.sh", command], cwd="/", capture_output=True, text=True, user=65534, group=65534,
                extra_groups=[], env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            )
            assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
            assert f"cannot install into {folder}/.venv: Permission denied" in done.stderr
        assert not [path for path in folder.iterdir() if path.name.startswith(".venv")]
