from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.actions import evaluate, export, inference, train
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.models.pose_classification.training.checkpoint_file import load, save
from tao_skill.status import read_status
from tests.support.experiments import FRAMES, experiment

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train.run(experiment(tiny, folder, train__optim__lr=0.05))
    return folder / "train" / "pc_model_latest.pth"


def task(tiny: Path, trained: Path, out: Path, action: str, **more: object) -> ExperimentConfig:
    keys = {f"{action}__checkpoint": str(trained), f"{action}__test_dataset__data_path": str(tiny / "val_data.npy")}
    return experiment(tiny, out, **{**keys, **more})


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    report = evaluate.score(true, predicted, ["a", "b", "c", "d", "absent"])
    assert report.accuracy == pytest.approx(100 * accuracy_score(true, predicted))
    recalls = [score.accuracy for score in report.classes if score.accuracy is not None]
    assert report.avg_accuracy == pytest.approx(np.mean(recalls))
    assert report.to_dict()["confusion_matrix"] == tuple(map(tuple, confusion_matrix(true, predicted, labels=range(5))))
    known = predicted < 4
    balanced = evaluate.score(true[known], predicted[known], list("abcd")).avg_accuracy
    assert balanced == pytest.approx(100 * balanced_accuracy_score(true[known], predicted[known]))
    assert report.classes[4].accuracy is None


def test_a_trained_model_is_scored_on_a_test_set_as_by_the_action(tiny: Path, trained: Path, tmp_path: Path) -> None:
    data = (tiny / "test_data.npy", tiny / "test_label.pkl")
    metrics = MODEL.score(experiment(tiny, tmp_path / "other"), trained, *data, tmp_path / "scored")
    paths = {"evaluate__test_dataset__data_path": str(data[0]), "evaluate__test_dataset__label_path": str(data[1])}
    assert metrics == evaluate.run(task(tiny, trained, tmp_path, "evaluate", **paths)).metrics
    assert set(metrics) == {"accuracy", "avg_accuracy"}
    reports = [(tmp_path / name / "evaluation.json").read_text() for name in ("scored", "evaluate")]
    assert reports[0] == reports[1]
    assert not (tmp_path / "other").exists()


def named(path: Path, folder: Path, label_map: Any) -> Path:
    """A copy of a checkpoint with this label map."""
    saved = load(path)
    saved["tao_skill"]["label_map"] = label_map
    save(saved, folder / "named.pth")
    return folder / "named.pth"


def test_a_model_knows_its_class_names_also_as_onnx(tiny: Path, trained: Path, tmp_path: Path) -> None:
    own = {name: number for number, name in enumerate(["sit", "stand", "walk", "größe", "e", "f"])}
    path = named(trained, tmp_path, own)
    (exported,) = export.run(experiment(tiny, tmp_path, export__checkpoint=str(path))).artifacts
    for model in (path, exported.path):
        inference.run(task(tiny, model, tmp_path, "inference"))
        assert json.loads((tmp_path / "inference" / "results.json").read_text())["classes"] == list(own)
        given = dict(zip("fedcba", range(6), strict=True))
        inference.run(task(tiny, model, tmp_path, "inference", dataset__label_map=given))
        assert json.loads((tmp_path / "inference" / "results.json").read_text())["classes"] == list("fedcba")
    labels = str(tiny / "val_label.pkl")
    evaluate.run(task(tiny, path, tmp_path, "evaluate", evaluate__test_dataset__label_path=labels))
    report = json.loads((tmp_path / "evaluate" / "evaluation.json").read_text())
    assert [one["name"] for one in report["classes"]] == list(own)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"a": 0, "b": 1}, "names 2 classes, dataset.num_classes is 6"),
        ({"a": 0, "b": 7}, "ids are not each of 0..1 once"),
        ({f"{n}\n": n for n in range(6)}, "not a single-line name"),
        (["a"], "accepted: 1 to 10000 class names"),
    ],
)
def test_a_models_names_that_do_not_fit_are_not_used(
    tiny: Path, trained: Path, tmp_path: Path, own: Any, said: str
) -> None:
    inference.run(task(tiny, named(trained, tmp_path, own), tmp_path, "inference"))
    classes = json.loads((tmp_path / "inference" / "results.json").read_text())["classes"]
    assert classes == [f"class_{number}" for number in range(6)]
    (warning,) = [line["message"] for line in read_status(tmp_path / "inference") if line["verbosity"] == "WARNING"]
    assert said in warning


def test_evaluation_is_right_about_what_inference_predicts(tiny: Path, trained: Path, tmp_path: Path) -> None:
    labels = str(tiny / "val_label.pkl")
    names = ["sitting_down", "getting_up", "sitting", "standing", "walking", "jumping"]
    facts = {"dataset__label_map": {name: i for i, name in enumerate(names)}}
    evaluated = evaluate.run(
        task(tiny, trained, tmp_path, "evaluate", evaluate__test_dataset__label_path=labels, **facts)
    )
    predicted = inference.run(task(tiny, trained, tmp_path, "inference", **facts))
    lines = (tmp_path / "inference" / "results.txt").read_text().splitlines()
    truth = [names[i] for i in read_labels(Path(labels)).ids]
    hits = sum(a == b for a, b in zip(lines, truth, strict=True))
    assert evaluated.metrics["accuracy"] == pytest.approx(100 * hits / len(truth))
    report = json.loads((tmp_path / "evaluate" / "evaluation.json").read_text())
    assert np.trace(report["confusion_matrix"]) == hits
    assert set(predicted.metrics) == {"sequences", "mean_confidence"}
    details = json.loads((tmp_path / "inference" / "results.json").read_text())
    assert [one["name"] for one in details["predictions"]] == lines
    for one in details["predictions"]:
        assert sum(one["probabilities"]) == pytest.approx(1.0, abs=1e-4)
        assert int(np.argmax(one["probabilities"])) == one["id"]


def test_known_labels_score_an_inference(tiny: Path, trained: Path, tmp_path: Path) -> None:
    labels = str(tiny / "val_label.pkl")
    outcome = inference.run(task(tiny, trained, tmp_path, "inference", inference__test_dataset__label_path=labels))
    details = json.loads((tmp_path / "inference" / "results.json").read_text())
    assert outcome.metrics["accuracy"] == pytest.approx(100 * np.mean([p["correct"] for p in details["predictions"]]))
    assert details["classes"] == [f"class_{i}" for i in range(6)]


def test_predictions_do_not_depend_on_the_batch(tiny: Path, trained: Path, tmp_path: Path) -> None:
    found = []
    for size in (1, 4, -1):
        inference.run(task(tiny, trained, tmp_path, "inference", inference__batch_size=size))
        details = json.loads((tmp_path / "inference" / "results.json").read_text())
        found.append(np.array([p["probabilities"] for p in details["predictions"]]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def probabilities(tiny: Path, checkpoint: Path, out: Path, **more: object) -> np.ndarray:
    """Of the twelve training sequences, whose lengths vary."""
    test = {"inference__test_dataset__data_path": str(tiny / "train_data.npy")} | more
    inference.run(task(tiny, checkpoint, out, "inference", **test))
    details = json.loads((out / "inference" / "results.json").read_text())
    return np.array([one["probabilities"] for one in details["predictions"]])


def test_a_model_that_was_trained_with_trim_padding_scores_whole_sequences_and_warns(
    tiny: Path, trained: Path, onnx_file: Path, tmp_path: Path
) -> None:
    """Older versions recorded the setting, which was removed, in checkpoints and ONNX files."""
    saved, model = load(trained), onnx.load(onnx_file)
    for trimmed in (False, True):
        saved["tao_skill"]["trim_padding"] = trimmed
        save(saved, tmp_path / "old.pth")
        onnx.helper.set_model_props(model, {"trim_padding": str(trimmed).lower()})
        onnx.save(model, tmp_path / "old.onnx")
        for new, old in ((trained, tmp_path / "old.pth"), (onnx_file, tmp_path / "old.onnx")):
            out = tmp_path / f"{old.suffix}-{trimmed}"
            assert np.array_equal(probabilities(tiny, old, out), probabilities(tiny, new, tmp_path))
            said = warnings_of(out, "inference")
            assert len(said) == trimmed
            assert all("dataset.resample_frames" in one for one in said)
    export.run(experiment(tiny, tmp_path, export__checkpoint=str(tmp_path / "old.pth")))
    (said_once,) = warnings_of(tmp_path, "export")
    assert "dataset.trim_padding, which was removed" in said_once


def warnings_of(folder: Path, action: str) -> list[str]:
    return [line["message"] for line in read_status(folder / action) if line["verbosity"] == "WARNING"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("persons", [1, 2])
def test_onnx_of_a_dynamic_length_scores_sequences_of_any(
    tiny: Path, trained: Path, tmp_path: Path, persons: int, precision: str
) -> None:
    longer = np.pad(np.load(tiny / "train_data.npy"), ((0, 0), (0, 0), (0, 7), (0, 0), (0, persons - 1)))
    longer[0, :, FRAMES + 4] = 0.5
    longer[..., -1] = longer[..., 0]
    np.save(tmp_path / "longer.npy", longer)
    np.save(tmp_path / "shorter.npy", longer[:, :, : FRAMES - 2])
    task = {
        "export__checkpoint": str(trained),
        "export__num_persons": persons,
        "export__sequence_length": -1,
        "export__sample_data": str(tmp_path / "longer.npy"),
        "export__precision": precision,
        "export__calibration__data_path": str(tmp_path / "longer.npy"),
    }
    (artifact,) = export.run(experiment(tiny, tmp_path, **task)).artifacts
    for name in ("longer.npy", "shorter.npy"):
        data = {"inference__test_dataset__data_path": str(tmp_path / name)}
        wanted, found = (probabilities(tiny, path, tmp_path, **data) for path in (trained, artifact.path))
        np.testing.assert_allclose(found, wanted, atol=1e-5 if precision == "fp32" else 0.1)


@pytest.mark.parametrize("model_type", NETWORKS)
def test_resampled_training_is_scored_alike_as_checkpoint_and_as_onnx(
    tiny: Path, tmp_path: Path, model_type: str
) -> None:
    beside = {"dataset__resample_frames": 6, "model__model_type": model_type}
    train.run(experiment(tiny, tmp_path, train__num_epochs=1, **beside))
    path = tmp_path / "train" / checkpoint_index.BEST
    assert {one.sequence_length for one in checkpoint_index.read_index(tmp_path / "train")} == {6}
    exported = export.run(experiment(tiny, tmp_path, export__checkpoint=str(path), export__num_persons=1, **beside))
    (onnx_path,) = (artifact.path for artifact in exported.artifacts)
    found = [probabilities(tiny, one, tmp_path, **beside) for one in (path, onnx_path)]
    np.testing.assert_allclose(*found, atol=1e-5)
    for one, frames in ((path, None), (onnx_path, None), (path, FRAMES), (onnx_path, FRAMES)):
        others = beside | {"dataset__resample_frames": frames}
        with pytest.raises(BadData, match="resample_frames"):
            probabilities(tiny, one, tmp_path, **others)
    longer = experiment(tiny, tmp_path / "longer", export__checkpoint=str(path), export__sequence_length=10, **beside)
    (onnx_path,) = (artifact.path for artifact in export.run(longer).artifacts)
    probabilities(tiny, onnx_path, tmp_path / "longer", **beside)
    said = [
        line["message"] for line in read_status(tmp_path / "longer" / "inference") if line["verbosity"] == "WARNING"
    ]
    assert len(said) == 1
    assert "takes 10 frames" in said[0]


@pytest.mark.parametrize("model_type", ["ST-GCN++", "DG-STGCN"])
def test_int8_of_a_resampled_branched_network_keeps_most_classes(tiny: Path, tmp_path: Path, model_type: str) -> None:
    beside = {"dataset__resample_frames": FRAMES, "model__model_type": model_type, "export__num_persons": 1}
    train.run(experiment(tiny, tmp_path, train__num_epochs=6, train__optim__lr=0.02, **beside))
    settings = {
        "export__checkpoint": str(tmp_path / "train" / checkpoint_index.BEST),
        "export__precision": "int8",
        "export__calibration__data_path": str(tiny / "train_data.npy"),
        "export__sample_data": str(tiny / "val_data.npy"),
    }
    metrics = export.run(experiment(tiny, tmp_path, **settings, **beside)).metrics
    assert metrics["int8_agreement"] >= 80
    assert metrics["int8_difference"] < 0.2 * metrics["max_score"] + 0.2
