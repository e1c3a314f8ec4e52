"""The figures of docs/performance.md are what the data beside them say, and what is computed of them adds up."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.folders import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import steps
import storage
import traced
from figures import Figure, point, points_table
from pairs import row
from plot import Dot, Plot, draw, figure

PAGE = REPOSITORY / "docs" / "performance.md"


def redrawn(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/scaling.py", "--draw", "--out", str(folder)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(PAGE.with_suffix(""), tmp_path / "performance")
    shutil.copy(PAGE, tmp_path)
    return tmp_path / "performance"


def test_figures_and_tables_are_drawn_from_the_data(copied: Path) -> None:
    for path in copied.glob("*.svg"):
        path.unlink()
    done = redrawn(copied)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in PAGE.with_suffix("").iterdir())
    assert sorted(path.name for path in copied.iterdir()) == names
    assert sum(name.endswith(".svg") for name in names) == 6
    for name in names:
        assert (copied / name).read_bytes() == (PAGE.with_suffix("") / name).read_bytes(), name
    assert copied.with_suffix(".md").read_text() == PAGE.read_text()


def test_other_data_make_another_figure_and_table(copied: Path) -> None:
    data = json.loads((copied / "frames.json").read_text())
    data["points"][0]["y"] = data["points"][0]["high"] = 777.0
    (copied / "frames.json").write_text(json.dumps(data))
    before = (copied / "frames.svg").read_text()
    assert redrawn(copied).returncode == 0
    assert (copied / "frames.svg").read_text() != before
    assert "| 777 |" in copied.with_suffix(".md").read_text()


def test_a_page_without_a_place_for_a_table_is_refused(copied: Path) -> None:
    page = copied.with_suffix(".md")
    page.write_text(page.read_text().replace("<!-- joints -->", ""))
    done = redrawn(copied)
    assert done.returncode == 1
    assert "no place for joints" in done.stderr


def positions(plot: Plot) -> list[list[tuple[float, float]]]:
    """The points of each line in pixels: measurements first, then the dashed guide."""
    drawn = figure(plot)
    drawn.canvas.draw()
    (axes,) = drawn.axes
    lines = [line for line in axes.lines if line.get_linestyle() != "None" and len(line.get_xdata()) > 1]
    return [axes.transData.transform(line.get_xydata()).tolist() for line in lines]


def test_proportional_values_are_a_straight_line_on_the_guide() -> None:
    dots = [Dot(x=x, y=0.5 * x, low=0.4 * x, high=0.6 * x) for x in (10, 20, 40, 80)]
    measured, guide = positions(Plot(title="t", x_label="N", y_label="s", lines={"a": dots}, proportional=True))
    rises = [after[1] - before[1] for before, after in pairwise(measured)]
    assert rises == pytest.approx([rises[0]] * 3, abs=0.2)
    assert rises[0] > 10
    assert [measured[0], measured[-1]] == pytest.approx(np.array(guide), abs=0.2)


def test_a_slower_measurement_leaves_the_guide() -> None:
    dots = [Dot(x=x, y=y, low=y, high=y) for x, y in ((10, 5), (20, 10), (40, 40))]
    measured, guide = positions(Plot(title="t", x_label="N", y_label="s", lines={"a": dots}, proportional=True))
    assert measured[-1][1] > guide[-1][1] + 10


def test_a_figure_is_an_svg_file_with_its_title_labels_and_names() -> None:
    dots = [Dot(x=x, y=2.0, low=1.0, high=3.0) for x in (0, 1, 2)]
    svg = draw(Plot(title="a & b", x_label="workers", y_label="s", lines={"1 < 2": dots}, steps=True))
    texts = {"".join(element.itertext()) for element in ElementTree.fromstring(svg).iter()}
    assert {"a & b", "workers", "s", "1 < 2", "0", "1", "2"} <= texts


def test_what_all_series_share_has_one_column() -> None:
    points = [
        point(series, x, [x * pace], work=2 * x, speed=1 / pace)
        for series, pace in (("a", 1.0), ("b", 2.0))
        for x in (1, 2)
    ]
    assert points_table(Figure(title="t", x="N", y="s"), points) == [
        ["N", "s, a", "s, b", "work", "speed, a", "speed, b"],
        ["1", 1.0, 2.0, 2, 1.0, 0.5],
        ["2", 2.0, 4.0, 4, 1.0, 0.5],
    ]


def test_a_pair_has_the_median_of_its_ratios_and_says_what_is_not_held() -> None:
    pairs = [(1.0, 2.0), (2.0, 2.0), (4.0, 12.0)]
    assert str(row("a", "b", pairs, most=2)) == "| a | b | 2.000 s | 2.000 s | 2.000 | 2 |"
    assert str(row("a", "b", pairs, most=1.9, unit="ms")).endswith("| 2.000 | 1.9, **not held** |")
    assert str(row("a", "b", pairs, most_s=1.5)).endswith("| 1.5 s, **not held** |")


def test_one_command_measures_pairs_and_keeps_their_table(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/run.py", "--only", "start", "--rounds", "1", "--out", str(tmp_path / "a.md")]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    page = (tmp_path / "a.md").read_text()
    assert page.endswith(done.stdout)
    assert f"Python {platform.python_version()}" in page
    assert len(re.findall(r"^\| `tao-skill .* ms \| \d+\.\d+ \|", done.stdout, re.MULTILINE)) == 2


def test_steps_are_measured_beside_the_peak_and_divided_into_kinds_of_operations() -> None:
    (row,) = steps.measure([steps.Case("ST-GCN++", 4, "bf16")], rounds=1)
    figures = dict(zip(steps.HEADER, row, strict=True))
    shares = {name: float(figures[name].removesuffix(" %")) for name in (*steps.KINDS, steps.OTHERS)}
    assert sum(shares.values()) == pytest.approx(100, abs=3)
    assert all(shares[name] > 0 for name in ("convolutions", "products", "batch norm", "copies", steps.OTHERS))
    assert 0 < float(figures["of the peak"].removesuffix(" %")) < 100
    assert float(figures["GFLOP/s"]) > 0


MEASURED: dict[str, Any] = {
    "beat_s": 5.0,
    "progress_s": 0.5,
    "looks_s": 20.0,
    "a_trial": {
        **{"writes": 10.0, "reads": 5.0, "checkpoints": 2.0, "checkpoints_bytes": 2.0 * 2**20, "records": 3.0},
        **{"reports": 2.0, "coordinator_cpu_s": 0.1},
    },
    "deciding": [
        {"trials": 10, "suggest_s": 0.01, "report_s": 0.02, "report_bytes": 2**20},
        {"trials": 1000, "suggest_s": 0.11, "report_s": 0.42, "report_bytes": 2 * 2**20},
    ],
    "transactions_s": {"SQLite": 120.0},
}


def test_the_demand_of_a_cluster_adds_up() -> None:
    assert list(storage.demand(MEASURED, 100.0, 1000).values()) == pytest.approx(
        [10, 10 * 10 + 200, 10 * 15 + 400 + 20, 20, 20, 30 + 2000, 2 * 0.05 / 0.42, 10 * (0.1 - 2 * 0.02 + 0.1) + 0.05]
    )


def test_a_part_serves_the_gpus_whose_demand_it_can_meet() -> None:
    found = storage.served(MEASURED, 100.0)
    assert list(found.values()) == pytest.approx([1000, 95 / 0.16, 100 / 0.55])
    asked = storage.demand(MEASURED, 100.0, 100 / 0.55)["all transactions"]
    assert asked == pytest.approx(120)


WORK = """
import sys
from pathlib import Path
from tao_skill.automl.execution.queue import Queue
from tao_skill.automl.search.search import Task
from tao_skill.io.atomic import write_text

queue = Queue(f"sqlite:///{sys.argv[1]}/queue.db", "search")
queue.put(Task(number=0, values={}, target=1))
claim = queue.claim("worker")
assert queue.beat(claim)
assert queue.running()
queue.close()
write_text(Path(sys.argv[1], "a.json"), "12345")
"""


@pytest.mark.parametrize(("argv", "kind"), [([], "reads"), ([traced.COORDINATOR], "looks")])
def test_a_process_that_is_listened_to_is_heard(tmp_path: Path, argv: list[str], kind: str) -> None:
    (tmp_path / "traced").mkdir()
    paths = os.pathsep.join((str(traced.TRACE), str(REPOSITORY / "core")))
    environment = {**os.environ, "PYTHONPATH": paths, "TRACED_WRITES": str(tmp_path / "traced")}
    subprocess.run([sys.executable, "-c", WORK, str(tmp_path), *argv], env=environment, check=True)
    found = dict(traced._counts(tmp_path / "traced"))
    assert (found["beats"], found["records"], found["records_bytes"]) == (1, 1, 5)
    assert found["writes"] == 2  # it is put, and it is claimed; tables are made by another kind of statement
    assert found[kind] >= 2  # whether the search has stopped, and what runs


def test_a_transaction_is_told_by_what_it_does() -> None:
    begin, commit = ["sql", 0, "BEGIN IMMEDIATE"], ["sql", 0, "COMMIT"]
    lines = [
        ["sql", 0, "SELECT 1"],
        begin,
        ["sql", 0, "SELECT tao_skill_tasks.id FROM tao_skill_tasks"],
        ["sql", 1, "BEGIN IMMEDIATE"],
        ["sql", 1, "INSERT INTO trials (number) VALUES (1)"],
        commit,
        ["sql", 1, "COMMIT"],
    ]
    kinds = [traced._transaction(one, True) for one in traced._transactions(lines)]
    assert kinds == [{"looks": 1}, {"writes": 1, "statements": 1}]
