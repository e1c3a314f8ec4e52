"""A folder with the documents' files on a small generated set, and the job that both documents begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.support.experiments import FRAMES
from tests.support.recordings import recording
from tests.support.tao import PLACEHOLDERS, SEEDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the documents' commands run in."""
    made = tmp_path_factory.mktemp("documents")
    write_sample(made, train=12, val=6, frames=FRAMES, seed=3)
    text = (SEEDS / "tao_spec.yaml").read_text()
    for placeholder, path in PLACEHOLDERS.items():
        text = text.replace(placeholder, path)
    (made / "spec.yaml").write_text(text)
    recording(made / "bodypose3d.json", frames=30, ids=(0,))
    return made


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the working directory."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TAO_SKILL_RESULTS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HOME", str(folder))
    return folder
