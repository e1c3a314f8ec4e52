"""Export: the same scores from an ONNX file, whatever the layout, and nothing half-done."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tao_skill.errors import BadData, BadRequest, JobFailed
from tao_skill.models.pose_classification.actions import evaluate, export, inference, train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.deploy.scorers import fitted
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.outcome import Outcome
from tests.support.experiments import FRAMES, experiment
from tests.support.networks import acquainted
from tests.support.small_networks.small_networks import SMALL_BLOCKS

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train.run(experiment(tiny, folder))
    return folder / "train" / checkpoint_index.LATEST


def run(tiny: Path, trained: Path, folder: Path, **changes: Any) -> Outcome:
    given = {"export__checkpoint": str(trained), "export__sequence_length": FRAMES, **changes}
    return export.run(experiment(tiny, folder, **given))


def scores(path: Path, x_NCTVM: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["fc_pred"], {"input": x_NCTVM})[0]


@pytest.mark.parametrize(
    ("layout", "strategy"),
    [
        pytest.param(*both, marks=() if "nvidia" in both or "spatial" in both else pytest.mark.thorough)
        for both in product(list(LAYOUTS)[:6], STRATEGIES)
    ],
)
def test_every_layout_and_strategy_trains_exports_and_agrees(layout: str, strategy: str, tmp_path: Path) -> None:
    shape = (4, 3, FRAMES, LAYOUTS[layout].joints, LAYOUTS[layout].persons)
    x_NCTVM = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "train_data.npy", x_NCTVM)
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps([list("abcd"), [0, 1, 2, 0]]))
    config = experiment(
        tmp_path,
        tmp_path,
        model__graph_layout=layout,
        model__graph_strategy=strategy,
        dataset__num_classes=3,
        dataset__val_dataset__data_path=None,
        dataset__val_dataset__label_path=None,
        train__num_epochs=1,
        export__checkpoint=str(tmp_path / "train" / checkpoint_index.LATEST),
        export__sequence_length=FRAMES,
        export__sample_data=str(tmp_path / "train_data.npy"),
    )
    train.run(config)
    outcome = export.run(config)
    assert outcome.metrics["max_difference"] <= export.TOLERANCE
    net = build_net(config.model, 3).eval()
    checkpoint_file.load_network(net, Path(config.export.checkpoint))
    with torch.no_grad():
        wanted_NK = net(torch.from_numpy(x_NCTVM)).numpy()
    assert np.abs(scores(outcome.artifacts[0].path, x_NCTVM) - wanted_NK).max() <= export.TOLERANCE


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("nvidia", (3, 300, 34, 1)),
        ("openpose", (3, 300, 18, 1)),
        ("human3.6m", (3, 3163, 17, 1)),
        ("ntu-rgb+d", (3, 300, 25, 2)),
        ("ntu_edge", (3, 300, 24, 2)),
        ("coco", (3, 300, 17, 1)),
    ],
)
def test_the_input_is_the_layouts_unless_the_spec_says_otherwise(
    layout: str, shape: tuple[int, ...], tiny: Path, tmp_path: Path
) -> None:
    assert export.input_shape(experiment(tiny, tmp_path, model__graph_layout=layout)) == shape
    changes = {"export__sequence_length": 64, "export__num_persons": 3}
    changed = export.input_shape(experiment(tiny, tmp_path, model__graph_layout=layout, **changes))
    assert changed == (3, 64, shape[2], 3)
    dynamic = experiment(tiny, tmp_path, model__graph_layout=layout, export__sequence_length=-1)
    assert export.input_shape(dynamic)[1] is None


def test_the_file_says_what_it_is_and_takes_any_batch(tiny: Path, trained: Path, tmp_path: Path) -> None:
    outcome = run(tiny, trained, tmp_path, dataset__label_map={name: i for i, name in enumerate("abcdef")})
    path = tmp_path / "export" / "model.onnx"
    assert [(one.kind, one.path) for one in outcome.artifacts] == [("onnx", path)]
    assert [entry.name for entry in path.parent.iterdir() if entry.suffix == ".tmp"] == []
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("input", "fc_pred")
    sizes = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, FRAMES, 34, 1]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["graph_layout"], facts["graph_strategy"], facts["num_classes"]) == ("nvidia", "spatial", "6")
    assert facts["precision"] == "fp32"
    assert facts["label_map"] == '{"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}'
    assert "tao-skill" in facts["producer"]
    for size in (1, 2, 7):
        assert scores(path, np.zeros((size, 3, FRAMES, 34, 1), np.float32)).shape == (size, 6)


@pytest.mark.parametrize("opset", [12, 17, 18, 20])
def test_older_and_newer_opsets_agree_with_torch(opset: int, tiny: Path, trained: Path, tmp_path: Path) -> None:
    outcome = run(tiny, trained, tmp_path, export__opset_version=opset)
    assert onnx.load(outcome.artifacts[0].path).opset_import[0].version == opset == outcome.metrics["opset"]


def test_an_opset_of_the_future_is_refused(tiny: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"export\.opset_version is 999"):
        run(tiny, trained, tmp_path, export__opset_version=999)


def int8(tiny: Path, **changes: Any) -> dict[str, Any]:
    return {
        "export__precision": "INT8",
        "export__calibration__data_path": str(tiny / "train_data.npy"),
        "export__sample_data": str(tiny / "val_data.npy"),
        **changes,
    }


@pytest.fixture(scope="module")
def discerning(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, STGCN]:
    """Poses held with a tremor, and a network that sees several classes in them: the checkpoint too."""
    folder = tmp_path_factory.mktemp("discerning")
    torch.manual_seed(1)
    x_NCTVM = torch.randn(20, 3, 1, 34, 1) + 0.3 * torch.randn(20, 3, FRAMES, 34, 1)
    np.save(folder / "poses.npy", x_NCTVM.numpy())
    net = acquainted(STGCN(num_classes=6, blocks=SMALL_BLOCKS), x_NCTVM)
    with torch.no_grad():
        scores_NK = net(x_NCTVM)
        assert net.fcn.bias is not None
        net.fcn.bias.sub_(scores_NK.mean(dim=0))
    checkpoint_file.save({"state_dict": net.state_dict()}, folder / "c.pth")
    return folder / "poses.npy", folder / "c.pth", net


@pytest.mark.parametrize("batch", [-1, 5])
def test_int8_computes_in_integers_and_says_what_that_costs(
    batch: int, tiny: Path, discerning: tuple[Path, Path, STGCN], tmp_path: Path
) -> None:
    poses, model, net = discerning
    data = {"export__calibration__data_path": str(poses), "export__sample_data": str(poses)}
    outcome = run(tiny, model, tmp_path, export__precision="int8", export__batch_size=batch, **data)
    path, x_NCTVM = outcome.artifacts[0].path, np.load(poses)
    found_NK = np.concatenate([scores(path, part) for part in np.split(x_NCTVM, 4)])
    with torch.no_grad():
        wanted_NK = net(torch.from_numpy(x_NCTVM)).numpy()
    assert len(set(wanted_NK.argmax(axis=1))) > 3
    kept = 100 * np.mean(found_NK.argmax(axis=1) == wanted_NK.argmax(axis=1))
    assert kept >= 90
    assert outcome.metrics["int8_agreement"] == pytest.approx(kept)
    difference = np.abs(found_NK - wanted_NK).max()
    assert 0 < difference == pytest.approx(outcome.metrics["int8_difference"], abs=export.TOLERANCE)
    assert outcome.metrics["max_difference"] <= export.TOLERANCE
    assert f"{kept:.1f} % of the compared sequences" in (tmp_path / "export" / "status.json").read_text()
    blocks = len(SMALL_BLOCKS)  # one has a convolution beside it, and all but the first add what went in
    assert integer_operators(path) == {"QLinearConv": 2 * blocks + 1, "QLinearAdd": 2 * blocks - 1}


def integer_operators(path: Path) -> dict[str, int]:
    """How often onnxruntime computes in integers, of the model as it runs it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    return {name: operators.count(name) for name in ("QLinearConv", "QLinearAdd")}


def test_int8_that_names_other_classes_is_warned_of(
    tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit above 100 % stands for a model that int8 harms."""
    run(tiny, trained, tmp_path / "well", **int8(tiny))
    assert "Warning" not in capsys.readouterr().out
    monkeypatch.setattr(export, "AGREEMENT", 101.0)
    run(tiny, trained, tmp_path / "harmed", **int8(tiny))
    assert "Warning: int8 predicts" in capsys.readouterr().out


def test_int8_without_what_it_needs_is_refused_before_the_job(tiny: Path, trained: Path, tmp_path: Path) -> None:
    blind = int8(tiny, export__calibration__data_path=None)
    for changes, key in (
        (blind, "export.calibration.data_path"),
        (int8(tiny, export__opset_version=12), "export.opset_version"),
        (int8(tiny, model__graph_layout="coco"), "model.graph_layout"),
    ):
        config = experiment(tiny, tmp_path, export__checkpoint=str(trained), **changes)
        assert [problem.key for problem in check(config, "export").problems] == [key]
    with pytest.raises(BadData, match="no calibration data"):
        run(tiny, trained, tmp_path, **blind)
    with pytest.raises(BadData, match="int8 needs ONNX opset 13"):
        run(tiny, trained, tmp_path, **int8(tiny, export__opset_version=12))
    assert not (tmp_path / "export" / "model.onnx").exists()


def test_a_fixed_batch_stays_fixed(tiny: Path, trained: Path, tmp_path: Path) -> None:
    path = run(tiny, trained, tmp_path, export__batch_size=3).artifacts[0].path
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


def test_an_existing_file_is_kept_unless_told_otherwise(tiny: Path, trained: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_text("precious")
    changes = {"export__onnx_file": str(mine), "export__checkpoint": str(trained)}
    (problem,) = check(experiment(tiny, tmp_path, **changes), "export").problems
    assert (problem.key, "export.overwrite=true" in problem.fix) == ("export.onnx_file", True)
    with pytest.raises(BadRequest, match="exists already"):
        run(tiny, trained, tmp_path, **changes)
    assert mine.read_text() == "precious"
    assert not check(experiment(tiny, tmp_path, **changes, export__overwrite=True), "export").problems
    run(tiny, trained, tmp_path, **changes, export__overwrite=True)
    onnx.checker.check_model(onnx.load(mine))


def test_another_answer_than_torchs_is_never_written(
    tiny: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tolerance below rounding stands for an exporter that errs."""
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(JobFailed, match=r"differ from those of torch by \S+, accepted"):
        run(tiny, trained, tmp_path)
    assert not (tmp_path / "export" / "model.onnx").exists()
    assert '"FAILURE"' in (tmp_path / "export" / "status.json").read_text()


def test_evaluate_and_inference_answer_the_same_from_onnx(tiny: Path, trained: Path, tmp_path: Path) -> None:
    path = run(tiny, trained, tmp_path).artifacts[0].path
    reports = {}
    for name, model in (("pth", trained), ("onnx", path)):
        task = {
            f"{action}__{key}": value
            for action in ("evaluate", "inference")
            for key, value in (
                ("checkpoint", str(model)),
                ("test_dataset__data_path", str(tiny / "val_data.npy")),
                ("test_dataset__label_path", str(tiny / "val_label.pkl")),
            )
        }
        config = experiment(tiny, tmp_path / name, **task, evaluate__batch_size=4)
        inferred = inference.run(config)
        reports[name] = (
            evaluate.run(config).metrics,
            (tmp_path / name / "inference" / "results.txt").read_text(),
            inferred.metrics["accuracy"],
        )
    assert reports["pth"] == reports["onnx"]


def test_a_secret_key_seals_the_file_and_only_that_key_opens_it(tiny: Path, trained: Path, tmp_path: Path) -> None:
    path = run(tiny, trained, tmp_path, encryption_key="s3cret").artifacts[0].path
    assert b"fc_pred" not in path.read_bytes()
    task = {"inference__checkpoint": str(path), "inference__test_dataset__data_path": str(tiny / "val_data.npy")}
    assert inference.run(experiment(tiny, tmp_path, **task, encryption_key="s3cret")).metrics["sequences"] == 6
    for key, said in (("other", "wrong"), (None, "not set")):
        with pytest.raises(BadData, match=said) as caught:
            inference.run(experiment(tiny, tmp_path, **task, encryption_key=key))
        assert "s3cret" not in str(caught.value)


def test_an_onnx_file_of_another_model_is_named_with_both_sides(tiny: Path, trained: Path, tmp_path: Path) -> None:
    path = run(tiny, trained, tmp_path).artifacts[0].path
    task = {"inference__checkpoint": str(path), "inference__test_dataset__data_path": str(tiny / "val_data.npy")}
    with pytest.raises(BadData, match="dataset.num_classes is 6 in the file, 4 in the spec"):
        inference.run(experiment(tiny, tmp_path, **task, dataset__num_classes=4))
    with pytest.raises(BadData, match="model.graph_layout is nvidia in the file, coco in the spec"):
        inference.run(experiment(tiny, tmp_path, **task, model__graph_layout="coco"))
    bare = onnx.load(path)
    del bare.metadata_props[:]
    onnx.save(bare, path)
    with pytest.raises(BadData, match="dataset.num_classes is 6 in the file, 4 in the spec"):
        inference.run(experiment(tiny, tmp_path, **task, dataset__num_classes=4))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07\x12\x07pytorch"])
def test_a_file_that_is_no_onnx_model_is_named(content: bytes, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    task = {
        "inference__checkpoint": str(tmp_path / "broken.onnx"),
        "inference__test_dataset__data_path": str(tiny / "val_data.npy"),
    }
    with pytest.raises(BadData, match=r"broken\.onnx cannot be (run|read)"):
        inference.run(experiment(tiny, tmp_path, **task))
    assert not (tmp_path / "inference" / "results.txt").exists()


def test_shorter_sequences_are_padded_and_longer_ones_refused() -> None:
    x_NCTVM = np.ones((2, 3, 4, 5, 1), np.float32)
    wide_NCTVM = fitted(x_NCTVM, 6, 2)
    assert wide_NCTVM.shape == (2, 3, 6, 5, 2)
    assert wide_NCTVM.sum() == x_NCTVM.sum()
    with pytest.raises(BadData, match="have 4 frames, the exported model takes 3"):
        fitted(x_NCTVM, 3, None)


def test_real_recordings_are_what_the_parity_is_measured_on(real_data: Path, tmp_path: Path) -> None:
    data = real_data / "utkinect" / "val_data.npy"
    config = experiment(
        tmp_path,
        tmp_path,
        model__graph_layout="ntu_edge",
        export__sample_data=str(data),
        export__num_persons=1,
        export__sequence_length=32,
    )
    (x_NCTVM,) = export.samples(config)
    recorded = np.load(data)[[0, 98], :, :32].astype(np.float32)
    assert np.array_equal(x_NCTVM[[0, -1]], recorded)
    torch.manual_seed(0)
    checkpoint_file.save({"state_dict": build_net(config.model, 6).state_dict()}, tmp_path / "c.pth")
    config = experiment(
        tmp_path,
        tmp_path,
        model__graph_layout="ntu_edge",
        export__checkpoint=str(tmp_path / "c.pth"),
        export__sample_data=str(data),
        export__num_persons=1,
        export__sequence_length=32,
    )
    assert export.run(config).metrics["max_difference"] <= export.TOLERANCE
