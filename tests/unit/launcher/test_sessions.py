"""Which of the user's tmux servers are asked for a cluster's session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import sessions

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

CONFIG = Path("/somewhere/config.json")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where tmux keeps its sockets. A server other than the usual one has a session of the cluster."""
    with tempfile.TemporaryDirectory(prefix="tmux") as sockets:  # tmux's socket needs a short path
        monkeypatch.setenv("TMUX_TMPDIR", sockets)
        monkeypatch.delenv("TMUX", raising=False)
        mark = (";", "set-option", "-t", "its", sessions.CONFIG_OPTION, sessions.digest(CONFIG))
        subprocess.run(["tmux", "-L", "work", "new-session", "-d", "-s", "its", "cat", *mark], check=True)
        folder = Path(sockets, f"tmux-{os.getuid()}")
        try:
            yield folder
        finally:
            folder.chmod(0o700)
            subprocess.run(["tmux", "-L", "work", "kill-server"], check=True)


def test_no_server_is_spoken_to_in_a_folder_that_others_may_have_made(folder: Path) -> None:
    """It would be sent the environment, with its keys, and the terminal."""
    assert sessions.find(CONFIG) is not None
    folder.chmod(0o777)
    assert sessions.find(CONFIG) is None


def test_a_server_that_does_not_answer_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "ANSWERS_WITHIN_S", 0.3)
    server = int(sessions.tmux("display-message", "-p", "#{pid}", server=("-L", "work")))
    os.kill(server, signal.SIGSTOP)
    try:
        assert sessions.find(CONFIG) is None
    finally:
        os.kill(server, signal.SIGCONT)
    assert "run.sh: tmux -L work does not answer" in capsys.readouterr().err
