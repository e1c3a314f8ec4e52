"""At the end, a table: faults tried, survived, lost."""

from __future__ import annotations

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what the tests of the matrix showed, by fault."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.getreports(outcome):
            if "faults/test_" in report.nodeid:
                name = report.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
                counts[name][outcome] += 1
    if not counts:
        return
    terminalreporter.section("faults")
    terminalreporter.line(f"{'fault':<44} {'tried':>6} {'survived':>9} {'lost':>5} {'skipped':>8}")
    for name, one in (*counts.items(), ("all", _sum(counts))):
        lost = one["failed"] + one["error"]
        tried = one["passed"] + lost
        terminalreporter.line(f"{name:<44} {tried:>6} {one['passed']:>9} {lost:>5} {one['skipped']:>8}")


def _sum(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    whole: dict[str, int] = defaultdict(int)
    for one in counts.values():
        for outcome, count in one.items():
            whole[outcome] += count
    return whole
