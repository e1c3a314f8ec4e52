"""Every setting does something: each parameter of an action is changed and its effect seen."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import pickle
from collections.abc import Callable
from operator import attrgetter, eq
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tao_skill.errors import BadRequest, MissingDependency, TaoSkillError
from tao_skill.models.pose_classification.actions import dataset_convert, evaluate, export, inference, train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.config import ExperimentConfig, TrainConfig
from tao_skill.models.pose_classification.deploy import predict, tensorrt_engine
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index, tracking
from tao_skill.models.pose_classification.training.devices import Devices, check_nodes, plan_devices
from tao_skill.models.pose_classification.training.module import SCHEDULERS
from tao_skill.spec.tree import iter_params
from tao_skill.status import StatusLog
from tests.support.experiments import FRAMES, experiment
from tests.support.networks import weights
from tests.support.recordings import recording
from tests.support.tensorrt.engines import KEY, built, contents
from tests.support.tensorrt.fake import VERSIONS, install
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("small_networks")

Ground = dict[str, Any]
ONE_EPOCH = {"train.num_epochs": 1}


@pytest.fixture(scope="module")
def ground(tiny: Path, onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A trained model to compare with and to build on."""
    folder = tmp_path_factory.mktemp("ground")
    train.run(experiment(tiny, folder))
    train.run(experiment(tiny, folder / "one_epoch", **ONE_EPOCH))
    return {
        "tiny": tiny,
        "folder": folder,
        "one_epoch": folder / "one_epoch",
        "checkpoint": folder / "train" / checkpoint_index.LATEST,
        "onnx": onnx_file,
    }


def assert_effect(
    made: Callable[[str, dict[str, Any]], Any],
    key: str,
    value: Any,
    beside: dict[str, Any],
    same: Callable[[Any, Any], bool] = eq,
) -> None:
    """What is made with this key changed is another; what is made again without the change, the control, is the same.

    Args:
        made: from the name of a new folder and the settings to what is compared.
    """
    base = made("base", beside)
    assert same(made("control", beside), base), f"something else than {key} differs from run to run"
    assert not same(made("changed", {**beside, key: value}), base), f"{key} has no effect"


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# What a change does, by kind. Each gets the ground, a folder and the changed key and value.


def weights_differ(value: Any, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """Two trainings of an epoch that differ in this key alone end with other weights."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        def trained(name: str, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
            if name == "base" and not settings:
                return weights(ground["one_epoch"] / "train")
            train.run(experiment(ground["tiny"], folder / name, **{**ONE_EPOCH, **settings}))
            return weights(folder / name / "train")

        assert_effect(trained, key, value, beside, same_weights)

    return prove


def scores_differ(value: Any, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """Two networks with the same weights that differ in this key alone score otherwise."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        def scored(_: str, settings: dict[str, Any]) -> torch.Tensor:
            torch.manual_seed(0)
            net = build_net(experiment(ground["tiny"], folder, **settings).model, 6).eval()
            with torch.no_grad():
                scores_NK: torch.Tensor = net(torch.randn(2, 3, 12, 34, 1))
            return scores_NK

        assert_effect(scored, key, value, beside, torch.equal)

    return prove


def refused(value: Any, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """The check before the job names the key."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        problems = check(experiment(ground["tiny"], folder, **beside, **{key: value}), "train").problems
        assert key in [problem.key for problem in problems]

    return prove


def trainer_gets(value: Any, look: Callable[[Any], Any], expected: Any) -> Callable[[Ground, Path, str], None]:
    """Lightning's trainer is set."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        built = train.build_trainer(experiment(ground["tiny"], folder, **{key: value}), folder, StatusLog(folder))
        assert look(built) == expected
        assert look(train.build_trainer(experiment(ground["tiny"], folder), folder, StatusLog(folder))) != expected

    return prove


def steps_saved(value: Any, expected: list[int], **beside: Any) -> Callable[[Ground, Path, str], None]:
    """Checkpoints lie at these steps."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        train.run(experiment(ground["tiny"], folder, **beside, **{key: value}))
        index = checkpoint_index.read_index(folder / "train")
        kept = [
            one.step
            for one in index
            if not (one == checkpoint_index.best(index, "val_acc") and one.step not in expected)
        ]
        assert kept == expected

    return prove


def plan_devices_of_training(task: TrainConfig, available: int) -> Devices:
    return plan_devices(task.num_gpus, task.gpu_ids, available)


def gpus(value: Any, expected: list[int]) -> Callable[[Ground, Path, str], None]:
    """The GPUs chosen where there are four."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        config = experiment(ground["tiny"], folder, **{key: value})
        task = attrgetter(key.split(".")[0])(config)
        plan = plan_devices_of_training if key.startswith("train.") else predict.gpus
        assert plan(task, 4).devices == expected
        assert plan(task, 0).accelerator == "cpu"

    return prove


def nodes_refused(ground: Ground, folder: Path, key: str) -> None:
    with pytest.raises(MissingDependency, match=key):
        check_nodes(key.split(".")[0], 2, {})


def wandb_gets(value: Any, name: str) -> Callable[[Ground, Path, str], None]:
    """W&B's init is called with it."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        config = experiment(ground["tiny"], folder, **{key: value})
        assert tracking.wandb_arguments(config, folder)[name] == value
        assert tracking.wandb_arguments(experiment(ground["tiny"], folder), folder).get(name) != value

    return prove


def wandb_enabled(ground: Ground, folder: Path, key: str) -> None:
    config = experiment(ground["tiny"], folder, **{key: True, "wandb.project": "poses"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependency, match=r"tao-skill\[wandb\]|wandb package"):
            tracking.start_run(config, "train")
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        train.run(config)
    (log,) = (folder / "train" / "wandb").glob("offline-run-*/run-*.wandb")
    until(lambda: log.read_bytes().count(b"val_acc") >= 2)  # a process of its own writes it


def writes_to(value: str, file: str) -> Callable[[Ground, Path, str], None]:
    """The action's files lie in the folder named."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        action = key.split(".")[0] if "." in key else "train"
        run(action, ground, folder, **{key: str(folder / value)})
        assert (folder / value / file).exists()

    return prove


def run(action: str, ground: Ground, folder: Path, **changes: Any) -> None:
    tiny = ground["tiny"]
    task = {
        "evaluate.checkpoint": str(ground["checkpoint"]),
        "evaluate.test_dataset.data_path": str(tiny / "val_data.npy"),
        "evaluate.test_dataset.label_path": str(tiny / "val_label.pkl"),
        "inference.checkpoint": str(ground["checkpoint"]),
        "inference.test_dataset.data_path": str(tiny / "val_data.npy"),
        "export.checkpoint": str(ground["checkpoint"]),
        "export.sequence_length": FRAMES,
    }
    config = experiment(tiny, folder, **{**task, **changes})
    {"train": train.run, "evaluate": evaluate.run, "inference": inference.run, "export": export.run}[action](config)


def report_differs(value: Callable[[Ground], Any], **beside: Any) -> Callable[[Ground, Path, str], None]:
    """The action's report is another one."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        action = key.split(".")[0]
        name = {"evaluate": "evaluate/evaluation.json", "inference": "inference/results.json"}[action]

        def reported(out: str, settings: dict[str, Any]) -> Any:
            run(action, ground, folder / out, **settings)
            return json.loads((folder / out / name).read_text())

        assert_effect(reported, key, value(ground), beside)

    return prove


def other_sequences(ground: Ground) -> str:
    path = ground["folder"] / "other.npy"
    np.save(path, np.load(ground["tiny"] / "train_data.npy")[:6])
    return str(path)


def other_labels(ground: Ground) -> str:
    path = ground["folder"] / "other.pkl"
    path.write_bytes(pickle.dumps([[f"s{i}" for i in range(6)], [0] * 6]))
    return str(path)


def unbalanced_labels(ground: Ground) -> str:
    path = ground["folder"] / "unbalanced.pkl"
    path.write_bytes(pickle.dumps([[f"s{i}" for i in range(12)], [0] * 7 + [1, 2, 3, 4, 5]]))
    return str(path)


def another_model(ground: Ground) -> str:
    folder = ground["folder"] / "another"
    if not folder.exists():
        train.run(experiment(ground["tiny"], folder, train__seed=5, train__optim__lr=0.1))
    return str(folder / "train" / checkpoint_index.LATEST)


def batches_are(size: int) -> Callable[[Ground, Path, str], None]:
    """progress.json counts batches of that size over the six sequences."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        action = key.split(".")[0]
        run(action, ground, folder, **{key: size})
        assert json.loads((folder / action / "progress.json").read_text())["batches"] == -(-6 // size)

    return prove


def workers_are(ground: Ground, folder: Path, key: str) -> None:
    from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule

    config = experiment(ground["tiny"], folder, **{key: 2})
    assert SkeletonDataModule(config.dataset, 0).train_dataloader().num_workers == 2


def schedule_differs(value: Any, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """The learning rates over ten stagnating epochs are others."""

    def rates(config: ExperimentConfig) -> list[float]:
        optim = config.train.optim
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=optim.lr)
        schedule = SCHEDULERS[optim.lr_scheduler](optimizer, config.train)
        found = []
        for _ in range(10):
            schedule.step(1.0) if optim.lr_scheduler == "AutoReduce" else schedule.step()  # type: ignore[arg-type]
            found.append(optimizer.param_groups[0]["lr"])
        return found

    def prove(ground: Ground, folder: Path, key: str) -> None:
        assert_effect(lambda name, settings: rates(experiment(ground["tiny"], folder, **settings)), key, value, beside)

    return prove


def encrypts(ground: Ground, folder: Path, key: str) -> None:
    train.run(experiment(ground["tiny"], folder, **{key: "a secret"}))
    newest = checkpoint_index.latest(folder / "train")
    assert newest is not None
    with pytest.raises(TaoSkillError, match="not set"):
        checkpoint_file.load(newest)
    assert "state_dict" in checkpoint_file.load(newest, "a secret")


def recorded_in_checkpoint(value: Any, field: str) -> Callable[[Ground, Path, str], None]:
    def prove(ground: Ground, folder: Path, key: str) -> None:
        train.run(experiment(ground["tiny"], folder, **{key: value}))
        newest = checkpoint_index.latest(folder / "train")
        assert newest is not None
        assert checkpoint_file.load(newest)["tao_skill"][field] == value

    return prove


def resumes_from(ground: Ground, folder: Path, key: str) -> None:
    first = ground["folder"] / "train" / checkpoint_index.checkpoint_name(0, 3)
    train.run(experiment(ground["tiny"], folder, **{key: str(first)}))
    assert [one.step for one in checkpoint_index.read_index(folder / "train")] == [6]
    assert same_weights(weights(folder / "train"), weights(ground["folder"] / "train"))


def validates_at(ground: Ground, folder: Path, key: str) -> None:
    train.run(experiment(ground["tiny"], folder, **{key: 2}))
    assert ["val_acc" in one.metrics for one in checkpoint_index.read_index(folder / "train")] == [False, True]


def monitored(ground: Ground, folder: Path, key: str) -> None:
    """The other loss is what the schedule's own best value is."""
    best = {}
    for monitor in ("val_loss", "train_loss"):
        config = experiment(ground["tiny"], folder / monitor, train__optim__lr_scheduler="AutoReduce", **{key: monitor})
        metrics = train.run(config).metrics
        saved = checkpoint_file.load(folder / monitor / "train" / checkpoint_index.LATEST)
        best[monitor] = saved["lr_schedulers"][0]["best"]
        assert best[monitor] <= 1.002 * metrics[monitor]  # less than a thousandth is no improvement
    assert best["val_loss"] != best["train_loss"]


def predictions_written(ground: Ground, folder: Path, key: str) -> None:
    run("inference", ground, folder, **{key: str(folder / "mine.txt")})
    assert len((folder / "mine.txt").read_text().splitlines()) == 6
    assert (folder / "mine.json").exists()


def converted(folder: Path, out: str, **changes: Any) -> dict[str, bytes]:
    """The arrays that a conversion of eighteen frames leaves."""
    recording(folder / "recording.json", frames=18)
    lengths = {"dataset_convert.sequence_length": 12, "dataset_convert.sequence_length_max": 16}
    task = {"dataset_convert.data": str(folder / "recording.json"), **lengths, **changes}
    dataset_convert.run(experiment(folder, folder / out, **task))
    return {path.name: path.read_bytes() for path in (folder / out / "dataset_convert").glob("*.npy")}


def arrays_differ(value: Any, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """The conversion leaves other arrays."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        assert_effect(lambda name, settings: converted(folder, name, **settings), key, value, beside)

    return prove


def another_recording(ground: Ground, folder: Path, key: str) -> None:
    recording(folder / "other.json", frames=15, ids=(1,))
    assert set(converted(folder, "changed", **{key: str(folder / "other.json")})) == {"object_1.npy"}


def joints_are_counted(ground: Ground, folder: Path, key: str) -> None:
    with pytest.raises(TaoSkillError, match="accepted: 68 for 17 joints"):
        converted(folder, "changed", **{key: 17})


def conversion_written(ground: Ground, folder: Path, key: str) -> None:
    assert not converted(folder, "base", **{key: str(folder / "own")})
    assert (folder / "own" / "object_3.npy").exists()


pixels = {"dataset_convert.pose_type": "2dbp"}


def engine_differs(
    value: Any | Callable[[Ground, Path], Any], look: Callable[[Path], Any], **beside: Any
) -> Callable[[Ground, Path, str], None]:
    """What is seen of the engine, or of its folder, is another with this key changed."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        changed = value(ground, folder) if callable(value) else value
        fixed = {name: one(ground, folder) if callable(one) else one for name, one in beside.items()}
        with pytest.MonkeyPatch.context() as patch:
            install(VERSIONS[-1], patch)
            assert_effect(
                lambda name, settings: look(built(ground["onnx"], folder / name, **settings)),
                key.removeprefix(KEY),
                changed,
                fixed,
            )

    return prove


def other_onnx(ground: Ground, folder: Path) -> str:
    model = onnx.load(ground["onnx"])
    model.graph.node[-1].doc_string = "another"
    onnx.save(model, folder / "other.onnx")
    return str(folder / "other.onnx")


def batches_of(engine: Path) -> list[int]:
    return [shape[0] for shape in contents(engine)[0]["profile"]["input"]]


def no_such_gpu(ground: Ground, folder: Path, key: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        find_gpu = tensorrt_engine.find_gpu
        install(VERSIONS[-1], patch)
        patch.setattr(tensorrt_engine, "find_gpu", find_gpu)
        with pytest.raises(MissingDependency, match="GPU 77 does not exist"):
            built(ground["onnx"], folder, **{key.removeprefix(KEY): 77})


def speaks(ground: Ground, folder: Path, key: str) -> None:
    heard = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(heard):
        install(VERSIONS[-1], patch)
        built(ground["onnx"], folder)
        assert "VERBOSE" not in heard.getvalue()
        built(ground["onnx"], folder, **{key.removeprefix(KEY): True})
    assert "VERBOSE" in heard.getvalue()


def kept_at(name: str, **beside: Any) -> Callable[[Ground, Path, str], None]:
    """A file of that name is written beside the engine's folder."""
    return engine_differs(
        lambda ground, folder: str(folder / name), lambda engine: (engine.parents[2] / name).exists(), **beside
    )


def sequences_of(name: str) -> Callable[[Ground, Path], str]:
    return lambda ground, folder: str(ground["tiny"] / name)


in_int8 = {"export.precision": "int8"}


def calibrated(ground: Ground) -> dict[str, Any]:
    return {"export.calibration.data_path": str(ground["tiny"] / "train_data.npy")}


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def onnx_differs(value: Any, look: Callable[[Path], Any], **beside: Any) -> Callable[[Ground, Path, str], None]:
    """What is seen of the ONNX file is another."""

    def prove(ground: Ground, folder: Path, key: str) -> None:
        def exported(name: str, settings: dict[str, Any]) -> Any:
            run("export", ground, folder / name, **settings)
            return look(folder / name / "export" / "model.onnx")

        assert_effect(exported, key, value(ground) if callable(value) else value, beside)

    return prove


def input_shape(path: Path) -> list[int | str]:
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


def no_such_gpu_to_export_on(ground: Ground, folder: Path, key: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(MissingDependency, match=r"GPUs \[3\] do not exist"):
            run("export", ground, folder, **{key: 3})


def samples_differ(ground: Ground, folder: Path, key: str) -> None:
    given = {"export.sequence_length": FRAMES, key: str(ground["tiny"] / "val_data.npy")}
    recorded = export.samples(experiment(ground["tiny"], folder, **given))
    assert np.array_equal(recorded[0][0], np.load(ground["tiny"] / "val_data.npy")[0])
    assert recorded[0].shape != export.samples(experiment(ground["tiny"], folder, **{key: None}))[0].shape


def existing_onnx_is_replaced(ground: Ground, folder: Path, key: str) -> None:
    run("export", ground, folder)
    with pytest.raises(BadRequest, match="exists already"):
        run("export", ground, folder)
    run("export", ground, folder, **{key: True})


reduce = {"train.optim.lr_scheduler": "AutoReduce"}
to_int8 = {
    "tensorrt.data_type": "int8",
    "tensorrt.calibration.cal_image_dir": sequences_of("train_data.npy"),
}

EFFECTS: dict[str, Callable[[Ground, Path, str], None]] = {
    "encryption_key": encrypts,
    "results_dir": writes_to("elsewhere", "train/status.json"),
    "model_name": recorded_in_checkpoint("fall detector", "model_name"),
    "wandb.enable": wandb_enabled,
    "wandb.project": wandb_gets("p", "project"),
    "wandb.entity": wandb_gets("e", "entity"),
    "wandb.group": wandb_gets("g", "group"),
    "wandb.tags": wandb_gets(["t"], "tags"),
    "wandb.name": wandb_gets("n", "name"),
    "wandb.run_id": wandb_gets("i", "id"),
    "wandb.reinit": wandb_gets(True, "reinit"),
    "wandb.sync_tensorboard": wandb_gets(True, "sync_tensorboard"),
    "wandb.save_code": wandb_gets(True, "save_code"),
    "model.model_type": weights_differ("ST-GCN++"),
    "model.pretrained_model_path": lambda ground, folder, key: weights_differ(another_model(ground))(
        ground, folder, key
    ),
    "model.input_channels": lambda ground, folder, key: refused(2)(ground, folder, key),
    "model.dropout": weights_differ(0.6),
    "model.graph_layout": lambda ground, folder, key: refused("coco")(ground, folder, key),
    "model.graph_strategy": weights_differ("uniform"),
    "model.center": weights_differ("true"),
    "model.align_view": weights_differ(True),
    "model.normalize_scale": weights_differ(True),
    "model.streams": weights_differ(["bone"]),
    "model.stream_weights": scores_differ([5.0, 1.0], model__streams=["joint", "bone"]),
    "model.edge_importance_weighting": weights_differ(False),
    "dataset.train_dataset.data_path": lambda ground, folder, key: refused("/no/such.npy")(ground, folder, key),
    "dataset.train_dataset.label_path": lambda ground, folder, key: refused("/no/such.pkl")(ground, folder, key),
    "dataset.val_dataset.data_path": lambda ground, folder, key: refused("/no/such.npy")(ground, folder, key),
    "dataset.val_dataset.label_path": lambda ground, folder, key: refused(None)(ground, folder, key),
    "dataset.validation_split": weights_differ(
        0.3, **{"dataset.val_dataset.data_path": None, "dataset.val_dataset.label_path": None}
    ),
    "dataset.num_classes": weights_differ(9),
    "dataset.label_map": refused({"walking": 0}),
    "dataset.random_choose": weights_differ(True, **{"dataset.window_size": 4}),
    "dataset.random_move": weights_differ(True),
    "dataset.window_size": weights_differ(12),
    "dataset.random_rotate": weights_differ(20.0),
    "dataset.random_scale": weights_differ(0.1),
    "dataset.random_flip": weights_differ(True),
    "dataset.flip_labels": weights_differ(
        {"class 0": "class 1"},
        **{"dataset.random_flip": True, "dataset.label_map": {f"class {number}": number for number in range(6)}},
    ),
    "dataset.temporal_crop": weights_differ(0.5),
    "dataset.resample_frames": weights_differ(6),
    "dataset.random_time_warp": weights_differ(0.3),
    "dataset.random_shear": weights_differ(0.3),
    "dataset.joint_dropout": weights_differ(0.2),
    "dataset.mixup": weights_differ(0.5),
    "dataset.class_weights": lambda ground, folder, key: weights_differ(
        "balanced", **{"dataset.train_dataset.label_path": unbalanced_labels(ground)}
    )(ground, folder, key),
    "dataset.batch_size": weights_differ(4),
    "dataset.num_workers": workers_are,
    "train.num_gpus": gpus(2, [0, 1]),
    "train.gpu_ids": gpus([1, 3], [1, 3]),
    "train.num_nodes": nodes_refused,
    "train.seed": weights_differ(99),
    "train.num_epochs": weights_differ(2),
    "train.checkpoint_interval": steps_saved(2, [6, 12], **{"train.num_epochs": 4}),
    "train.checkpoint_interval_unit": steps_saved("step", [2, 4, 6], **{"train.checkpoint_interval": 2}),
    "train.validation_interval": validates_at,
    "train.resume_training_checkpoint_path": resumes_from,
    "train.results_dir": writes_to("own", "status.json"),
    "train.precision": weights_differ("bf16"),
    "train.grad_clip": weights_differ(0.01),
    "train.cudnn.benchmark": trainer_gets(True, lambda _: torch.backends.cudnn.benchmark, True),
    "train.cudnn.deterministic": trainer_gets(False, lambda _: torch.are_deterministic_algorithms_enabled(), False),
    "train.optim.optimizer_type": weights_differ("torch.optim.Adamax"),
    "train.optim.lr": weights_differ(0.2),
    "train.optim.momentum": weights_differ(0.5),
    "train.optim.nesterov": weights_differ(False),
    "train.optim.weight_decay": weights_differ(0.01),
    "train.optim.lr_scheduler": schedule_differs("AutoReduce"),
    "train.optim.lr_monitor": monitored,
    "train.optim.patience": schedule_differs(3, **reduce),
    "train.optim.min_lr": schedule_differs(1e-3, **reduce),
    "train.optim.lr_steps": schedule_differs([2, 4]),
    "train.optim.lr_decay": schedule_differs(0.5),
    "train.optim.warmup_epochs": weights_differ(1, **{"train.num_epochs": 2}),
    "train.optim.label_smoothing": weights_differ(0.1),
    "train.optim.ema_decay": weights_differ(0.9),
    "train.optim.accumulate_batches": weights_differ(2),
    "evaluate.checkpoint": report_differs(another_model),
    "evaluate.test_dataset.data_path": report_differs(other_sequences),
    "evaluate.test_dataset.label_path": report_differs(other_labels),
    "evaluate.results_dir": writes_to("own", "evaluation.json"),
    "evaluate.num_gpus": gpus(2, [0, 1]),
    "evaluate.gpu_ids": gpus([2], [2]),
    "evaluate.gpu_id": gpus(3, [3]),
    "evaluate.num_nodes": nodes_refused,
    "evaluate.batch_size": batches_are(2),
    "evaluate.num_clips": report_differs(lambda ground: 3),
    "inference.checkpoint": report_differs(another_model),
    "inference.test_dataset.data_path": report_differs(lambda ground: str(ground["tiny"] / "train_data.npy")),
    "inference.test_dataset.label_path": report_differs(lambda ground: str(ground["tiny"] / "val_label.pkl")),
    "inference.output_file": predictions_written,
    "inference.results_dir": writes_to("own", "results.txt"),
    "inference.num_gpus": gpus(2, [0, 1]),
    "inference.gpu_ids": gpus([2], [2]),
    "inference.gpu_id": gpus(3, [3]),
    "inference.num_nodes": nodes_refused,
    "inference.batch_size": batches_are(4),
    "inference.num_clips": report_differs(lambda ground: 3),
    "dataset_convert.data": another_recording,
    "dataset_convert.results_dir": conversion_written,
    "dataset_convert.pose_type": arrays_differ("25dbp"),
    "dataset_convert.num_joints": joints_are_counted,
    "dataset_convert.input_width": arrays_differ(640, **pixels),
    "dataset_convert.input_height": arrays_differ(480, **pixels),
    "dataset_convert.focal_length": arrays_differ(800.0),
    "dataset_convert.sequence_length_max": arrays_differ(20),
    "dataset_convert.sequence_length_min": arrays_differ(4),
    "dataset_convert.sequence_length": arrays_differ(14),
    "dataset_convert.sequence_overlap": arrays_differ(1.0),
    "dataset_convert.combine": arrays_differ(True),
    "export.checkpoint": onnx_differs(lambda ground: another_model(ground), lambda path: path.read_bytes()),
    "export.onnx_file": writes_to("mine.onnx", ""),
    "export.results_dir": writes_to("own", "model.onnx"),
    "export.gpu_id": no_such_gpu_to_export_on,
    "export.batch_size": onnx_differs(3, input_shape),
    "export.opset_version": onnx_differs(17, lambda path: onnx.load(path).opset_import[0].version),
    "export.sequence_length": onnx_differs(20, input_shape),
    "export.num_persons": onnx_differs(2, input_shape),
    "export.sample_data": samples_differ,
    "export.precision": lambda ground, folder, key: onnx_differs("int8", operators, **calibrated(ground))(
        ground, folder, key
    ),
    "export.calibration.data_path": lambda ground, folder, key: onnx_differs(
        str(ground["tiny"] / "val_data.npy"), Path.read_bytes, **calibrated(ground), **in_int8
    )(ground, folder, key),
    "export.calibration.sequences": lambda ground, folder, key: onnx_differs(
        2, Path.read_bytes, **calibrated(ground), **in_int8
    )(ground, folder, key),
    "export.overwrite": existing_onnx_is_replaced,
    "gen_trt_engine.onnx_file": engine_differs(other_onnx, Path.read_bytes),
    "gen_trt_engine.trt_engine": engine_differs(
        lambda ground, folder: str(folder / "mine.engine"), lambda engine: engine.name
    ),
    "gen_trt_engine.results_dir": engine_differs(
        lambda ground, folder: str(folder / "own"), lambda engine: engine.parent.name
    ),
    "gen_trt_engine.gpu_id": no_such_gpu,
    "gen_trt_engine.batch_size": engine_differs(3, batches_of),
    "gen_trt_engine.verbose": speaks,
    "gen_trt_engine.timing_cache": kept_at("timing.cache"),
    "gen_trt_engine.tensorrt.data_type": engine_differs("fp16", Path.read_bytes),
    "gen_trt_engine.tensorrt.workspace_size": engine_differs(77, lambda engine: contents(engine)[0]["workspace"]),
    "gen_trt_engine.tensorrt.min_batch_size": engine_differs(2, batches_of),
    "gen_trt_engine.tensorrt.opt_batch_size": engine_differs(3, batches_of),
    "gen_trt_engine.tensorrt.max_batch_size": engine_differs(9, batches_of),
    "gen_trt_engine.tensorrt.calibration.cal_image_dir": engine_differs(
        sequences_of("val_data.npy"), Path.read_bytes, **to_int8
    ),
    "gen_trt_engine.tensorrt.calibration.cal_cache_file": kept_at("ranges.json", **to_int8),
    "gen_trt_engine.tensorrt.calibration.cal_batch_size": engine_differs(5, Path.read_bytes, **to_int8),
    "gen_trt_engine.tensorrt.calibration.cal_batches": engine_differs(4, Path.read_bytes, **to_int8),
}

KEYS = [leaf.key for leaf in iter_params(ExperimentConfig)]


def test_no_setting_of_an_action_is_forgotten() -> None:
    assert set(KEYS) == set(EFFECTS)


@pytest.mark.parametrize("key", KEYS)
def test_setting_has_an_effect(key: str, ground: Ground, tmp_path: Path) -> None:
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        EFFECTS[key](ground, tmp_path, key)
    finally:
        torch.use_deterministic_algorithms(deterministic)
