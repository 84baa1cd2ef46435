"""run.sh, and all that it starts, in whatever environment a shell hands down: honoured, or named in the error."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE_S, ROOT
from tests.free_ports import free_port
from tests.unit.llm.gemini_tools import candidate, streamed
from tests.unit.llm.llm_tools import said_json, stand_in

TEXT = "Gr\u00fc\u00dfe \u4f60\u597d"
NOWHERE = "http://127.0.0.1:1"
ODD = {
    "HTTP_PROXY": NOWHERE, "https_proxy": NOWHERE, "ALL_PROXY": "socks9://x", "NO_PROXY": "[[[",
    "SSL_CERT_FILE": "/nowhere", "REQUESTS_CA_BUNDLE": "/nowhere", "LC_ALL": "xx_YY.ISO-8859-1", "LANG": "zz",
    "PYTHONHOME": "/nowhere", "PYTHONSAFEPATH": "1", "PYTHONINSPECT": "1", "PYTHONSTARTUP": "/nowhere",
    "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "TMUX": "/nowhere,1,0", "TMUX_PANE": "%99", "TERM": "dumb",
    "IFS": "/", "GREP_OPTIONS": "--color=always", "COLUMNS": "x", "XDG_RUNTIME_DIR": "/nowhere", "TMPDIR": "/nowhere",
    "CDPATH": f"{ROOT.parent}:/",
}


def run_sh(config: Path, lines: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", f"{ROOT.name}/run.sh", "--no-tmux"], cwd=ROOT.parent, input="\n".join(lines).encode(),
        capture_output=True, timeout=3 * PATIENCE_S, env={**os.environ, "CONFIG": str(config), **environment},
    )


def configuration(folder: Path, *llms: dict[str, object]) -> Path:
    nodes = [{"id": number, "llm": llm} for number, llm in enumerate(llms, 1)]
    path = folder / "config.json"
    path.write_text(json.dumps({"orchestrator": {"port": free_port()}, "nodes": nodes}))
    return path


def test_servers_on_this_machine_answer_whatever_the_environment_says(tmp_path: Path) -> None:
    for name in ("json.py", "msgspec.py", "config.py", "encodings.py"):
        (tmp_path / name).write_text("raise ImportError('of another program')")
    shell = tmp_path / "shell"
    shell.write_text("cd() { echo surprise; builtin cd \"$@\"; }; export -f cd; alias python3=false")
    chat = said_json({"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]})
    with stand_in(chat) as openai, stand_in(streamed(candidate(TEXT))) as google:
        config = configuration(
            tmp_path, {"provider": "openai", "base_url": openai.url, "model": "m"},
            {"provider": "gemini", "base_url": google.url, "api_key": "AIza-no-real-key"},
            {"provider": "google-genai", "base_url": google.url, "api_key": "AIza-no-real-key"},
        )
        lines = [
            "net: wait leader", "net: node 1: create c", f"net: node 1: query c {TEXT}?",
            "net: wait answers c --within 80s", f"net: node 2: export c {tmp_path}/c.json",
        ]
        done = run_sh(config, lines, {**ODD, "PYTHONPATH": str(tmp_path), "BASH_ENV": str(shell)})
    said = done.stdout.decode()
    complaints = [line for line in done.stderr.decode().splitlines() if "warning: setlocale" not in line]  # the shell's
    assert (done.returncode, complaints) == (0, []), said
    (turn,) = json.loads((tmp_path / "c.json").read_text())["turns"]
    assert turn["query"] == f"{TEXT}?"
    assert {node: each.get("text", each) for node, each in turn["candidates"].items()} == dict.fromkeys("123", TEXT)


def test_what_the_locale_cannot_show_is_escaped(tmp_path: Path) -> None:
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    config = configuration(tmp_path, {"provider": "fake"})
    done = run_sh(config, ["1: create \u4f60", "1: view \u4f60"], environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u4f60: created" in done.stdout
    asked = subprocess.run(
        [ROOT / ".venv/bin/python", "ctl.py", "--config", config, "--node", "1", b"view \xff"], cwd=ROOT,
        capture_output=True, env={**os.environ, **environment},
    )
    assert asked.returncode == 2 and b"not valid UTF-8" in asked.stderr


@pytest.mark.parametrize("command", ["--no-tmux", "stop"])
def test_what_keeps_python_from_starting_is_named(tmp_path: Path, command: str) -> None:
    environment = {**os.environ, "CONFIG": str(configuration(tmp_path, {})), "PYTHONHASHSEED": "nonsense"}
    done = subprocess.run([ROOT / "run.sh", command], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "Python does not start" in done.stderr and "PYTHONHASHSEED" in done.stderr
