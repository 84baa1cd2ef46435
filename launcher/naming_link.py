"""The link of a node that also notes its cluster's id in the data directory, when it is first known."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

from net.control_messages import Report
from net.link import NodeLink
from storage.errors import StorageError
from storage.ownership import name_cluster

_log = logging.getLogger(__name__)


class NamingLink(NodeLink):
    def __init__(self, folder: Path, *, new: bool, cluster: str, **others: Any) -> None:
        """`new`: this node came without an id, so that the one it gets counts, whatever the directory's was."""
        super().__init__(cluster=cluster, **others)
        self._name = partial(name_cluster, folder, cluster, anew=new)
        self._named = 0

    def send_report(self, report: Report) -> None:
        super().send_report(report)
        if report.cluster_id != self._named:
            self._named = report.cluster_id
            asyncio.get_running_loop().run_in_executor(None, self._note, report.cluster_id)

    def _note(self, cluster_id: int) -> None:
        """In a thread: nothing waits for this disk."""
        try:
            self._name(cluster_id)
        except StorageError as error:
            _log.warning("the cluster's id cannot be noted: %s", error)
