"""`python -m launcher.stop`: stops what was started, whatever has become of config.json and of .venv since."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launcher import foreground_record, sessions
from launcher.errors import LaunchError, NotUnderstood
from launcher.paths import config_path


def main(options: Sequence[str] = ()) -> int:
    if options:
        print(f"run.sh: {NotUnderstood(options[0])}", file=sys.stderr)
        return 2
    try:
        if not (foreground_record.stop(config_path()) or _stop_session()):
            print("The cluster is not running.")
            return 0
    except LaunchError as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return 1
    print("Stopped; ./run.sh continues with the same conversations.")
    return 0


def _stop_session() -> bool:
    sessions.require_tmux()
    session = sessions.find(config_path())
    if session is not None:
        sessions.stop(session)
    return session is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
