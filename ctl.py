#!/usr/bin/env python3
"""Sends one command to a running node, or to the network, for scripts: python ctl.py --node 2 create c1"""

from __future__ import annotations

import os
import sys

from launcher.packages import explained

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def main() -> int:
    with explained("ctl.py"):
        from launcher.ctl import command
    return command.run()


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = EXIT_FAILED
    sys.exit(code)
