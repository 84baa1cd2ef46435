"""What deploy/ names is there, and what git must not have is in no image either."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize("program", ["node.py", "network_server.py"])
def test_services_and_containers_use_options_that_there_are(program: str) -> None:
    shown = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    used = [path.name for path in DEPLOY.iterdir() if path.is_file() and program in path.read_text()]
    assert len(used) >= 2
    for name in used:
        for line in (DEPLOY / name).read_text().splitlines():
            if program in line and line.lstrip().startswith(("ExecStart", "command")):
                options = re.findall(r"--[a-z-]+", line)
                assert options and all(option in shown.stdout for option in options), f"{name}: {line}"


def test_secrets_of_this_checkout_get_into_no_image() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {"config.json", "tls", ".git", "data*"} <= set(ignored)
