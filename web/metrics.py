"""GET /metrics, for Prometheus. Values are read when they are asked for; only durations are recorded as they occur."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

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
        return exposition(self._registry)

    def collect(self) -> Iterator[Metric]:
        if self._hub is None:
            return
        yield from self._of_node(self._hub)
        yield from self._of_llm(self._hub)

    def _of_node(self, hub: Hub) -> Iterator[Metric]:
        status, session = hub.session.node_status(), hub.session
        received, sent = self._traffic()
        yield gauge("log_decided_position", "Every position of the log up to this one is decided.", status.decided)
        yield gauge("log_applied_position", "Every position up to this one is applied here.", status.applied)
        yield gauge("queued_operations", "Operations of this node that are not applied yet.", status.queued)
        yield gauge("conversations", "Conversations in the store.", len(session.conversations))
        yield gauge("members", "Members of the cluster, as they were decided.", len(session.members))
        yield gauge("linked_nodes", "Nodes with messages passing in both directions.", len(status.links))
        yield gauge("leader", "Whether this node leads.", status.leader == status.node)
        yield gauge("leader_known", "Whether this node knows a leader.", status.leader is not None)
        lost = session.lost_quorum() is not None
        yield gauge("quorum_lost", "Whether too many disks are lost to decide anything.", lost)
        yield counter("elections", "Changes of the leadership that this node saw.", hub.elections)
        yield counter("network_received_bytes", "Bytes received from other nodes.", received)
        yield counter("network_sent_bytes", "Bytes sent to other nodes.", sent)

    def _of_llm(self, hub: Hub) -> Iterator[Metric]:
        llm = hub.session.llm_status
        if llm is None:
            return
        yield gauge("llm_requests_in_flight", "Requests that the LLM is working on.", llm.in_flight)
        yield gauge("llm_requests_waiting", "Requests that wait for the LLM.", llm.waiting)
        yield counter("llm_requests", "Requests to the LLM.", llm.requests)
        yield counter("llm_failures", "Requests to the LLM without an answer.", llm.failures)
        yield counter("llm_retries", "Requests to the LLM that were repeated.", llm.retries)
        tokens = {"in": llm.tokens_in, "out": llm.tokens_out}
        yield counters("llm_tokens", "Tokens, as counted by the LLM.", "direction", tokens)


def exposition(registry: CollectorRegistry) -> web.Response:
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"consensusllm_{name}", help_text, value=float(value))


def counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"consensusllm_{name}", help_text, value=float(value))


def gauges(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    """One for each value of the label."""
    family = GaugeMetricFamily(f"consensusllm_{name}", help_text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], float(value))
    return family


def counters(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    """One for each value of the label."""
    family = CounterMetricFamily(f"consensusllm_{name}", help_text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], float(value))
    return family
