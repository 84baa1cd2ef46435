"""GET /metrics, for Prometheus. Values are read when they are asked for; only durations are recorded as they occur."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from web.hub import Hub

_COMMIT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics(Collector):
    """`traffic` gives the bytes received from and sent to other nodes."""

    def __init__(self, traffic: Callable[[], tuple[int, int]]) -> None:
        self._traffic = traffic
        self._hub: Hub | None = None
        self._registry = CollectorRegistry()
        self._commits = Histogram(
            "consensusllm_commit_duration_seconds",
            "From the submission of an operation at this node until it was applied here.", buckets=_COMMIT_BUCKETS,
            registry=self._registry,
        )

    def watch(self, hub: Hub) -> None:
        self._hub = hub
        self._registry.register(self)

    def observe_commit(self, seconds: float) -> None:
        self._commits.observe(seconds)

    async def get(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterator[Metric]:
        if self._hub is None:
            return
        yield from self._of_node(self._hub)
        yield from self._of_llm(self._hub)

    def _of_node(self, hub: Hub) -> Iterator[Metric]:
        status, session = hub.session.node_status(), hub.session
        received, sent = self._traffic()
        yield _gauge("log_decided_position", "Every position of the log up to this one is decided.", status.decided)
        yield _gauge("log_applied_position", "Every position up to this one is applied here.", status.applied)
        yield _gauge("queued_operations", "Operations of this node that are not applied yet.", status.queued)
        yield _gauge("conversations", "Conversations in the store.", len(session.conversations))
        yield _gauge("members", "Members of the cluster, as they were decided.", len(session.members))
        yield _gauge("linked_nodes", "Nodes with messages passing in both directions.", len(status.links))
        yield _gauge("leader", "Whether this node leads.", status.leader == status.node)
        yield _gauge("leader_known", "Whether this node knows a leader.", status.leader is not None)
        lost = session.lost_quorum() is not None
        yield _gauge("quorum_lost", "Whether too many disks are lost to decide anything.", lost)
        yield _counter("elections", "Changes of the leadership that this node saw.", hub.elections)
        yield _counter("network_received_bytes", "Bytes received from other nodes.", received)
        yield _counter("network_sent_bytes", "Bytes sent to other nodes.", sent)

    def _of_llm(self, hub: Hub) -> Iterator[Metric]:
        llm = hub.session.llm_status
        if llm is None:
            return
        yield _gauge("llm_requests_in_flight", "Requests that the LLM is working on.", llm.in_flight)
        yield _gauge("llm_requests_waiting", "Requests that wait for the LLM.", llm.waiting)
        yield _counter("llm_requests", "Requests to the LLM.", llm.requests)
        yield _counter("llm_failures", "Requests to the LLM without an answer.", llm.failures)
        yield _counter("llm_retries", "Requests to the LLM that were repeated.", llm.retries)
        tokens = CounterMetricFamily("consensusllm_llm_tokens", "Tokens, as counted by the LLM.", labels=["direction"])
        tokens.add_metric(["in"], llm.tokens_in)
        tokens.add_metric(["out"], llm.tokens_out)
        yield tokens


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"consensusllm_{name}", help_text, value=float(value))


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"consensusllm_{name}", help_text, value=float(value))
