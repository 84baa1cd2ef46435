"""Full disks: a small file system where one can be mounted, else a limit on file sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

if sys.platform == "linux":
    import resource

_SIZE = "48m"
_BLOCK = b"\0" * 65536


class FullDisk(Protocol):
    def fill(self, process_id: int) -> None: ...

    def make_room(self) -> None: ...


class SmallDisk:
    """A file system of its own, mounted over a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / "ballast"

    @classmethod
    def mount(cls, folder: Path) -> SmallDisk | None:
        """None where it is not available."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return None
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
        return cls(folder) if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None

    def fill(self, process_id: int) -> None:
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(descriptor, _BLOCK) > 0:
                continue
        except OSError:
            return  # that is the point
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)


class FrozenFiles:
    """Limits the file sizes of a running process, which looks like a full disk to it."""

    available = sys.platform == "linux"

    def fill(self, process_id: int) -> None:
        if sys.platform == "linux":
            _, most = resource.prlimit(process_id, resource.RLIMIT_FSIZE)
            resource.prlimit(process_id, resource.RLIMIT_FSIZE, (4096, most))

    def make_room(self) -> None:
        """The next process has no such limit."""
