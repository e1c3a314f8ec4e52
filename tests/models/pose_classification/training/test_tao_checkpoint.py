"""Checkpoints of TAO: made by Lightning as TAO has it make them, from a module built like TAO's."""

from __future__ import annotations

import enum
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim.lr_scheduler import MultiStepLR

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.actions import evaluate, inference, train
from tao_skill.models.pose_classification.data.dataset import BatchSampler, SkeletonDataset, loader
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.status import read_status
from tests.support.experiments import experiment

EPOCHS = 4
HALF = "model_epoch_001_step_00002.pth"
WEIGHTS = ("state_dict", "pytorch-lightning_version")
BATCH = 12
"""All sequences: then their order, which every trainer draws in its own way, does not matter."""


class TaoClassifier(pl.LightningModule):
    """The network under `model.`, SGD, and a schedule that Lightning steps: what decides what TAO's files hold."""

    def __init__(self, experiment_spec: dict[str, Any]) -> None:
        super().__init__()
        self.experiment_spec = experiment_spec
        self.model = STGCN(dropout=0.0)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x_NCTVM, ids_N = batch
        return F.cross_entropy(self.model(x_NCTVM), ids_N)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4)
        return {"optimizer": optimizer, "lr_scheduler": MultiStepLR(optimizer, [3], gamma=0.5)}


class TaoCheckpoint(ModelCheckpoint):
    FILE_EXTENSION = ".pth"
    CHECKPOINT_EQUALS_CHAR = "_"
    CHECKPOINT_NAME_LAST = "pc_model_latest"


@pytest.fixture(scope="module")
def tao(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of four epochs of one step each."""
    folder = tmp_path_factory.mktemp("tao") / "train"
    data = SkeletonDataset(tiny / "train_data.npy", tiny / "train_label.pkl")
    names: dict[str, Any] = {"dirpath": folder, "filename": "model_{epoch:03d}_{step:05d}", "save_last": "link"}
    files = TaoCheckpoint(**names, save_top_k=-1, save_on_train_epoch_end=True)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=EPOCHS, callbacks=[files], log_every_n_steps=1, **quiet)
    trainer.fit(TaoClassifier({}), loader(data, BatchSampler(len(data), batch_size=BATCH), num_workers=0))
    return folder


Change = Callable[[dict[str, Any]], dict[str, Any]]

FORMS: dict[str, tuple[str, Change]] = {
    "as saved, newer name": (HALF, lambda saved: saved),
    "as saved, older name": ("model_epoch_001.pth", lambda saved: saved),
    "renamed, as in the tutorial": ("nvidia_model.tlt", lambda saved: saved),
    "with hyperparameters": ("c.pth", lambda saved: saved | {"hyper_parameters": {"lr": 0.1, "steps": [1, None]}}),
    "state_dict and version": ("c.pth", lambda saved: {name: saved[name] for name in WEIGHTS}),
    "prefixed keys": ("c.pth", lambda saved: dict(saved["state_dict"])),
    "bare keys": ("c.pth", lambda saved: checkpoint_file.network_state(saved)),
    "bare keys in state_dict": ("c.pth", lambda saved: {"state_dict": checkpoint_file.network_state(saved)}),
}


def test_what_lightning_leaves_for_tao_has_the_names_and_keys_that_are_counted_on(tao: Path) -> None:
    names = {checkpoint_index.checkpoint_name(epoch, epoch + 1) for epoch in range(EPOCHS)}
    assert {path.name for path in tao.iterdir()} == names | {checkpoint_index.LATEST}
    saved = torch.load(tao / HALF, weights_only=True)
    assert {"epoch", "global_step", "pytorch-lightning_version", "optimizer_states", "lr_schedulers"} <= saved.keys()
    assert "tao_skill" not in saved
    assert saved["lr_schedulers"][0]["last_epoch"] == saved["epoch"] + 1


@pytest.mark.parametrize("form", FORMS)
def test_each_form_evaluates_infers_and_starts_training_alike(form: str, tao: Path, tiny: Path, tmp_path: Path) -> None:
    name, change = FORMS[form]
    path = tmp_path / name
    saved = torch.load(tao / HALF, weights_only=True)
    torch.save(change(saved), path)
    expected = TaoClassifier({})
    expected.load_state_dict(saved["state_dict"])
    expected.eval()
    with torch.inference_mode():
        data = torch.from_numpy(np.load(tiny / "val_data.npy")).float()
        wanted_NK = expected.model(data).softmax(1)
    files = {"data_path": tiny / "val_data.npy", "label_path": tiny / "val_label.pkl"}
    given = {"checkpoint": path} | {f"test_dataset__{key}": value for key, value in files.items()}
    for action, run in (("evaluate", evaluate.run), ("inference", inference.run)):
        pairs = {f"{action}__{key}": str(value) for key, value in given.items()}
        outcome = run(experiment(tiny, tmp_path / "out", **pairs))
        ids_N = torch.from_numpy(SkeletonDataset(tiny / "val_data.npy", tiny / "val_label.pkl").ids_N)
        assert outcome.metrics["accuracy"] == pytest.approx(100 * float((wanted_NK.argmax(1) == ids_N).float().mean()))
    report = json.loads((tmp_path / "out" / "inference" / "results.json").read_text())
    got_NK = torch.tensor([one["probabilities"] for one in report["predictions"]])
    torch.testing.assert_close(got_NK, wanted_NK, atol=1e-5, rtol=0)
    net = STGCN()
    assert checkpoint_file.load_pretrained(net, path) == f"weights of {path}"
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected.parameters(), strict=True))


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return sum(float((one[name].double() - other[name]).square().sum()) for name in one) ** 0.5


@pytest.mark.parametrize("name", [HALF, "model_epoch_001.pth"])
def test_a_training_of_tao_goes_on_to_the_weights_it_would_have_had(
    name: str, tao: Path, tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    shutil.copy(tao / HALF, folder / name)
    (folder / checkpoint_index.LATEST).symlink_to(name)
    same: dict[str, Any] = {"model__dropout": 0.0, "dataset__batch_size": BATCH}
    same |= {"train__optim__lr_steps": [3], "train__optim__lr_decay": 0.5}
    train.run(experiment(tiny, tmp_path, train__num_epochs=EPOCHS, **same))
    assert f"Resuming from {name}." in [line["message"] for line in read_status(folder)]
    last = checkpoint_index.checkpoint_name(EPOCHS - 1, EPOCHS)
    ended = checkpoint_file.load(folder / last)
    assert ended["lr_schedulers"][0]["last_epoch"] == EPOCHS
    half, expected = (torch.load(tao / file, weights_only=True)["state_dict"] for file in (HALF, last))
    assert distance(ended["state_dict"], expected) < 0.01 * distance(half, expected)


@pytest.mark.parametrize("form", ["state_dict and version", "bare keys"])
def test_weights_alone_are_no_training_to_resume(form: str, tao: Path, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(FORMS[form][1](torch.load(tao / HALF, weights_only=True)), path)
    with pytest.raises(BadData, match="no training state") as caught:
        train.run(experiment(tiny, tmp_path, train__resume_training_checkpoint_path=str(path)))
    assert f"model.pretrained_model_path={path}" in caught.value.fix


def test_another_network_is_no_training_to_resume(tao: Path, tiny: Path, tmp_path: Path) -> None:
    pairs = {"train__resume_training_checkpoint_path": str(tao / HALF), "dataset__num_classes": 7}
    with pytest.raises(BadData, match=r"fcn.weight is \(6, 256, 1, 1\), the spec makes \(7, 256, 1, 1\)"):
        train.run(experiment(tiny, tmp_path, **pairs))


def test_our_checkpoint_has_all_that_tao_needs(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path, train__num_epochs=1, encryption_key="nvidia_tao"))
    path = tmp_path / "train" / "model_epoch_000_step_00003.pth"
    loaded = TaoClassifier.load_from_checkpoint(path, map_location="cpu", experiment_spec={"x": 1}, strict=True)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


FOREIGN = """
import enum

class Method(enum.Enum):
    AES = 1

class Settings:
    lr = 1
"""


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A module that this project does not know, found by whoever works in `tmp_path`."""
    (tmp_path / "eff_codec.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    return __import__("eff_codec")


@pytest.mark.parametrize("method", [1, "aes", "an object"])
def test_what_tao_encrypted_is_refused_with_the_reason(method: Any, foreign: ModuleType, tmp_path: Path) -> None:
    value: Any = foreign.Method.AES if method == "an object" else method
    assert isinstance(value, enum.Enum | int | str)
    torch.save({"epoch": 3, "state_dict": bytes(range(256)), "state_dict_encrypted": value}, tmp_path / "tao.tlt")
    with pytest.raises(BadData, match=r"encrypted by TAO \(state_dict_encrypted\)"):
        checkpoint_file.load(tmp_path / "tao.tlt", "nvidia_tao")


def test_objects_beside_the_weights_are_not_run_and_the_fix_gets_rid_of_them(
    foreign: ModuleType, tao: Path, tmp_path: Path
) -> None:
    path = tmp_path / "objects.pth"
    torch.save(torch.load(tao / HALF, weights_only=True) | {"hyper_parameters": foreign.Settings()}, path)
    with pytest.raises(BadData, match=r"names eff_codec.Settings, .* was not run") as caught:
        checkpoint_file.load(path)
    _, *words = shlex.split(caught.value.fix.partition(": ")[2])
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)
    checkpoint_file.load_network(STGCN(), tmp_path / "weights.pth")
