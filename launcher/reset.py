"""Deletes all conversations of a cluster."""

from __future__ import annotations

import shutil

from config.config import Config
from launcher import tmux

DELETED = ("node-*", "history-*", "llm-*", "local-*", "*.log", ".restore-*", "before-rescue-*", "network.json*")
"""What `reset` deletes from the data directory, and nothing else."""


def reset(config: Config, *, confirmed: bool) -> None:
    """Asks first unless `confirmed`; stops the cluster if it is running. Raises LaunchError, or EOFError if nobody
    answers the question."""
    found = sorted({path for pattern in DELETED for path in config.data_dir.glob(pattern)})
    if not confirmed:
        question = f"This deletes all conversations of cluster '{config.cluster}' in {config.data_dir}. Type yes: "
        if input(question).strip().lower() != "yes":
            print("Nothing was deleted.")
            return
    if tmux.is_running(config):
        tmux.stop(config)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"Deleted {len(found)} files in {config.data_dir}.")
