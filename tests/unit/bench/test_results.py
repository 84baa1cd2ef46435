"""What is published of a run: medians, one small file, and a table and plots that follow from it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import compare, plot, report, results
from bench.results import LoadSample, Machine, OutageSample, RelaySample, Results, Samples

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "docs" / "performance"


def load_sample(rate: float, p99_ms: float = 2.0, us: float = 50.0, errors: int = 0) -> LoadSample:
    return LoadSample(
        rate=rate, p50_ms=1.0, p99_ms=p99_ms, errors=errors, operations=int(rate), seconds=1.0,
        cpu={"driver": 0.25, "node": rate / 100}, us_per_operation={"driver": 10.0, "node": us - 10.0},
    )


def samples() -> Samples:
    outages = [OutageSample(gap, [(at / 100, 1000.0 if at < 0 else gap) for at in range(-20, 80)]) for gap in (3, 1, 2)]
    return Samples(
        kind="quick", rounds=3, seconds=1.0, took_s=1_234_567.0,
        machine=Machine("cpu", 2, "system", "3.11", "3.40", None, None, None, 0.1),
        load={"ConsensusLLM": {"leader/1": [load_sample(300.0), load_sample(100.0, errors=2), load_sample(200.0)]}},
        outages={"ConsensusLLM, kill -9": outages},
        startup={"prompt_s": [0.3, 0.1, 0.2]},
        relay={"ours": [RelaySample(60.0, 90.0, 0)], "bare": [RelaySample(100.0, 100.0, 0)]},
    )


def test_the_median_of_each_load_is_kept_with_its_range() -> None:
    load = results.condensed(samples()).load["ConsensusLLM"]["leader/1"]
    assert (load.rate.median, load.rate.least, load.rate.most, load.rate.count) == (200.0, 100.0, 300.0, 3)
    assert (load.cpu, load.us_per_operation, load.errors) == (2.25, 50.0, 2)


def test_the_timeline_of_the_outage_of_median_length_is_kept_thinned() -> None:
    outage = results.condensed(samples()).outages["ConsensusLLM, kill -9"]
    assert outage.gap_s.median == 2.0
    assert len(outage.timeline) == 50
    assert outage.timeline[0] == (-0.2, 1.0)
    assert outage.timeline[-1] == (0.78, 0.002)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = results.condensed(samples())
    results.write(found, tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == found
    assert len((tmp_path / "results.json").read_text().splitlines()) < 40


def test_the_table_is_made_of_figures_as_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = samples()
    found.relay["ours"] = [RelaySample(592_822.501, 90.0, 0)]  # written as 592,822.5, which is shown as another integer
    bench.write(found, tmp_path, publish=False)
    shown = capsys.readouterr().out
    assert report.table(results.read(tmp_path / "results.json")) in shown
    assert report.table(results.condensed(found)) not in shown


def test_the_published_table_follows_from_the_published_results() -> None:
    published = results.read(PUBLISHED / "results.json")
    assert f"{report.BEGIN}\n{report.table(published)}\n{report.END}" in (ROOT / "docs" / "PERFORMANCE.md").read_text()


def test_the_published_plots_follow_from_the_published_results(tmp_path: Path) -> None:
    names = plot.draw(results.read(PUBLISHED / "results.json"), tmp_path)
    assert names == ["throughput.svg", "latency.svg", "failover.svg"]
    for name in names:
        assert (tmp_path / name).read_text() == (PUBLISHED / name).read_text()


def test_parts_that_were_not_measured_are_left_out() -> None:
    table = report.table(Results(kind="quick", rounds=1, seconds=1.0, machine=samples().machine))
    assert "|" not in table


def rounds(new: list[float], errors: int = 0) -> list[compare.Round]:
    cases = (*compare.ONE_IN_FLIGHT, *compare.MANY_IN_FLIGHT)
    return [
        ({case: load_sample(100.0) for case in cases}, {case: load_sample(rate, errors=errors) for case in cases})
        for rate in new
    ]


def test_a_comparison_gives_the_ratio_of_each_round() -> None:
    lines = compare.table(rounds([50.0, 110.0, 90.0])).splitlines()
    assert "| 1,024 in flight | operations/s | 100 | 90 | 0.90 [0.50 .. 1.10] | higher |" in lines
    assert "| one in flight, follower | p99, ms | 2.00 | 2.00 | 1.00 [1.00 .. 1.00] | lower |" in lines
    assert sum("us CPU/operation" in line for line in lines) == 6


@pytest.mark.parametrize("errors", [0, 2])
def test_a_comparison_tells_of_operations_that_failed(errors: int) -> None:
    assert ("failed: 0 old, 12 new" in compare.table(rounds([100.0], errors))) == bool(errors)
