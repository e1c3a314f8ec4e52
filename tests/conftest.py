"""Shared ground of the tests: real data where it is, a small generated set everywhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.spec import load
from tests.support.postgresql_server import INSTALL, PostgreSQLServer, programs

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_DATA = REPOSITORY.parent / "shared" / "data"

LONG = (
    "test_docs.py",
    "test_train.py",
    "test_settings.py",
    "test_automl_kills.py",
    "test_flow.py",
    "test_automl_flow.py",
    "test_flow_eval.py",
    "test_s3.py",
    "test_evaluate.py",
    "test_distributed.py",
    "test_tao_page.py",
    "test_tao.py",
    "test_skill_page.py",
    "test_matrix.py",
    "test_benchmarks.py",
)
"""Files that take longest, the worst first: begun last, one would keep everything waiting for a single process."""

T = TypeVar("T")


def pytest_configure() -> None:
    """Let what the tests start hear Ctrl-C, also where they themselves run in a shell's background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that need it skip without it."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real recordings are not beside this checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated six-class set of a few short sequences."""
    folder = tmp_path_factory.mktemp("tiny")
    write_sample(folder, train=12, val=6, frames=16, seed=3)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """The last digits depend on the number of threads, which is another in a worker that no search started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    found = programs()
    if found is None:
        pytest.skip(f"PostgreSQL is not installed; set {INSTALL}=1 as root to let the tests do it")
    server = PostgreSQLServer(found)
    yield server
    server.remove()


def dataset(folder: Path) -> dict[str, Any]:
    """Spec keys of the generated set."""
    return {
        f"dataset.{split}_dataset.{name}_path": str(folder / f"{split}_{name}.{ending}")
        for split in ("train", "val")
        for name, ending in (("data", "npy"), ("label", "pkl"))
    }


def without_label_map(folder: Path, target: Path) -> Path:
    """Links to the arrays and labels of a set, in a folder that names no classes."""
    for path in (*folder.glob("*.npy"), *folder.glob("*.pkl")):
        (target / path.name).symlink_to(path)
    return target


def experiment(folder: Path, results_dir: Path, /, **overrides: Any) -> ExperimentConfig:
    """A config that trains on the generated set in a second; keys with `__` for dots change it."""
    pairs = {
        **dataset(folder),
        "results_dir": str(results_dir),
        "dataset.batch_size": 5,
        "dataset.num_workers": 0,
        "model.dropout": 0.2,
        "train.num_epochs": 2,
        "train.optim.lr": 0.02,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, pairs.items()))
    assert isinstance(config, ExperimentConfig)
    return config


def until(condition: Callable[[], T | None], seconds: float = 60, *, meanwhile: Callable[[], Any] = lambda: None) -> T:
    """What a condition gives once that is true; the test fails when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.02)
    return found


def leave_checkpoints(folder: Path, *metrics: Mapping[str, float]) -> None:
    """Fill a results folder as a training does, with an empty checkpoint an epoch and the index of their metrics."""
    folder.mkdir(parents=True)
    entries = [
        checkpoint_index.Checkpoint(file=checkpoint_index.checkpoint_name(i, i), epoch=i, step=i, metrics=one)
        for i, one in enumerate(metrics)
    ]
    for entry in entries:
        (folder / entry.file).touch()
    checkpoint_index.write_index(folder, entries)
    (folder / checkpoint_index.LATEST).symlink_to(entries[-1].file)
