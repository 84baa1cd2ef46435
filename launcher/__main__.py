"""`python -m launcher start|stop|reset|--no-tmux`: what run.sh does once Python and the packages are there."""

from __future__ import annotations

import sys

from config.config import Config, ConfigError
from launcher import foreground, tmux
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from launcher.configuration import configuration
from launcher.preconditions import LaunchError, require_free_port, require_tmux
from launcher.reset import reset


def main(arguments: list[str]) -> int:
    try:
        return _run(arguments[0] if arguments else "start", arguments[1:], configuration())
    except (LaunchError, ConfigError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was changed.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(command: str, options: list[str], config: Config) -> int:
    if command == "--no-tmux":
        require_free_port(config)
        return foreground.run(config)
    require_tmux()
    match command:
        case "start":
            tmux.start(config)
        case "stop":
            tmux.stop(config)
        case "reset":
            reset(config, confirmed="--yes" in options)
        case _:
            print(__doc__, file=sys.stderr)
            return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
