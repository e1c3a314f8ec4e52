"""Shared ground of the tests: real data where it is, a small generated set everywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.support.experiments import FRAMES
from tests.support.folders import REAL_DATA, SMALL_NETWORKS
from tests.support.servers.postgresql import INSTALL, PostgreSQLServer, programs

if TYPE_CHECKING:
    from tests.support.servers.s3 import S3Server

LONG = (
    "repository/test_docs.py",
    "cli/test_automl_kills.py",
    "cli/test_automl_flow.py",
    "cli/test_flow.py",
    "cli/test_s3.py",
    "models/pose_classification/training/test_parallel.py",
    "repository/test_flow_eval.py",
    "seeds/test_tao_page.py",
    "cli/test_tao.py",
    "faults/test_matrix.py",
    "models/pose_classification/test_settings.py",
    "models/pose_classification/actions/test_train.py",
    "models/pose_classification/actions/test_gen_trt_engine.py",
    "seeds/test_skill_page.py",
    "agent_tools/test_workflow.py",
    "repository/test_benchmarks.py",
)
"""Files that take longest, the worst first: begun last, one would keep everything waiting for a single process."""


def pytest_configure() -> None:
    """Let what the tests start hear Ctrl-C, also where they themselves run in a shell's background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


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
    write_sample(folder, train=12, val=6, frames=FRAMES, seed=3)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """The last digits depend on the number of threads, which is another in a worker that no search started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def small_networks_in_processes() -> Iterator[None]:
    """The networks of all processes that are started have few blocks; those of this process are as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SMALL_NETWORKS), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    from tests.support.servers.s3 import S3Server  # boto3 and moto take a second to load

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    found = programs()
    if found is None:
        pytest.skip(f"PostgreSQL is not installed; set {INSTALL}=1 as root to let the tests do it")
    server = PostgreSQLServer(found)
    yield server
    server.remove()
