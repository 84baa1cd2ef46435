"""Where things are. Imports nothing that has to be installed."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = ROOT / "config.json"


def config_path() -> Path:
    """The configuration file that a command of run.sh is about; it need not exist."""
    return Path(os.environ.get("CONFIG") or DEFAULT_CONFIG).absolute()
