"""Every parser of files that others write, in one table: a new loader is one line."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tao_skill import bank, skills, status
from tao_skill.agent_tools import reports
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.roots import Roots
from tao_skill.automl.execution.journal import FileJournal, journal_path
from tao_skill.automl.report import files
from tao_skill.automl.search.asha import Trial
from tao_skill.cli import tao_mounts
from tao_skill.io import encryption, s3_cache
from tao_skill.jobs import launch
from tao_skill.jobs.document import job_document, next_runs
from tao_skill.jobs.record import Attempt, Job
from tao_skill.jobs.store import RECORD_FILE, Store
from tao_skill.models.pose_classification.actions import dataset_convert, gen_trt_engine, train
from tao_skill.models.pose_classification.config import DatasetConvertConfig, ExperimentConfig
from tao_skill.models.pose_classification.data import deepstream, label_map, sequences
from tao_skill.models.pose_classification.data.imports import kinetics, labels, ntu, openpose, pyskl
from tao_skill.models.pose_classification.data.imports.request import RecordingImport
from tao_skill.models.pose_classification.deploy import scorers, tensorrt_precision
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.planning.routing import decide
from tao_skill.spec import load
from tao_skill.spec.keys import full_keys
from tao_skill.spec.references import Scope, resolve
from tests.support.experiments import experiment
from tests.support.searches import BATCH, FACTS, INIT, LR, MOMENTUM, document, make_setup

KEY: Final = "a secret"
JOB: Final = "train-20260101-000000-abcd"
JOINTS: Final = 18
SHORT: Final = bank.skill_info("pose_classification")["spec_shorthand"]


@dataclass(frozen=True, kw_only=True)
class Parser:
    """How a file is read.

    Attributes:
        read: reads the file of that path, and does with it what the product does next.
        file: name of the file, with its folders. seeds: makes valid files. tokens: pieces of the format.
        wrap: what goes around an input before it is a file, so that it gets past a checksum.
        weight: share of the budget, where one input takes long.
    """

    read: Callable[[Path], Any]
    file: str
    seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...] = ()
    wrap: Callable[[bytes], bytes] = bytes
    weight: float = 1.0


def _sequences(path: Path) -> None:
    data = sequences.open_sequences(path)
    if data.size < 2**20:
        torch.from_numpy(np.array(data[:1], np.float32))
        sequences.unpadded_lengths(data)


def _npy_seeds() -> list[bytes]:
    made = []
    for dtype, order in (("<f4", "C"), (">f8", "F"), ("<f2", "C"), ("<i8", "C"), ("f4,f4", "C")):
        with tempfile.TemporaryFile() as stream:
            np.save(stream, np.ones((2, 3, 4, 5, 1), dtype=dtype, order=order))
            stream.seek(0)
            made.append(stream.read())
    return made


def _label_seeds() -> list[bytes]:
    values: list[Any] = [[["a", "bücken"], [0, 300]], (("x",), (np.int64(3),))]
    values += [[np.array(["a", "b"]), np.array([0, 300])], [[np.str_("x")], np.array([1], object)]]
    return [pickle.dumps(value, protocol) for value in values for protocol in range(6)]


def _pyskl_seeds() -> list[bytes]:
    clip = {
        "frame_dir": "c1",
        "label": 3,
        "img_shape": (240, 320),
        "total_frames": 2,
        "keypoint": np.ones((1, 2, 17, 2), np.float16),
        "keypoint_score": np.ones((1, 2, 17), np.float32),
    }
    solid = {"frame_dir": "c2", "label": 0, "keypoint": np.asfortranarray(np.ones((2, 3, 25, 3)))}
    return [pickle.dumps({"split": {"a": ["c1"]}, "annotations": [clip]}, n) for n in range(6)] + [
        pickle.dumps([solid], n) for n in (2, 5)
    ]


def _imported(read: Callable[[RecordingImport], Any], **options: Any) -> Callable[[Path], Any]:
    return lambda path: list(read(RecordingImport(source=path, out=path.parent / "out", **options)))


def _text(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value).encode() for value in values]


def _classes(path: Path) -> None:
    labels.Classes(path).label_map()


def _kinetics(index: int) -> dict[str, Any]:
    person = {"pose": [0.25] * 2 * JOINTS, "score": [0.5] * JOINTS}
    return {
        "data": [{"frame_index": index, "skeleton": [person]}, {"frame_index": index + 1, "skeleton": []}],
        "label": "walk",
        "label_index": 3,
    }


def _ntu_seeds() -> list[bytes]:
    joint = "0.21 0.12 3.7 277.4 191.8 1036.1 519.1 -0.21 0.02 0.97 0.05 2\n"
    body = "72057594037927936 0 1 1 1 1 0 0.027 -0.057 2\n25\n" + joint * 25
    return [f"2\n1\n{body}1\n{body}".encode(), f"1\n0\n\n2\n1\n{body}0\n".encode(), f"1\n2\n{body}{body}".encode()]


def _recording() -> list[dict[str, Any]]:
    item = {"object_id": 7, "pose3d": [1.5] * 4 * 34, "pose25d": [2.5] * 4 * 34}
    return [
        {"num_frames_in_batch": 1, "batches": [{"batch_id": 0, "frame_num": n, "objects": [item]}]} for n in range(2)
    ]


def _converted(path: Path) -> None:
    for pose in deepstream.read_poses(path, "3dbp", 34):
        dataset_convert.normalise(pose.joints_V4, DatasetConvertConfig(data=str(path)))


@cache
def _net() -> STGCN:
    return STGCN(num_classes=2, layout=LAYOUTS["openpose"])


def _checkpoint(key: str | None) -> Callable[[Path], Any]:
    def read(path: Path) -> None:
        checkpoint_file.load_network(_net(), path, key)

    return read


def _checkpoint_seeds(*, zipped: bool = True) -> list[bytes]:
    made = []
    for value in (
        {"state_dict": {"model.x": torch.ones(2, 3), "model.n": torch.tensor(3)}, "epoch": 1, "lr": [0.5, None]},
        STGCN.__base__.state_dict(torch.nn.BatchNorm1d(4)),  # type: ignore[union-attr]
        {"state_dict": {"fcn.weight": torch.ones(2, 256, 1, 1), "A": torch.ones(3, 18, 18)}},
    ):
        with tempfile.TemporaryFile() as stream:
            torch.save(value, stream, _use_new_zipfile_serialization=zipped)
            stream.seek(0)
            made.append(stream.read())
    return made


def _pretrained(path: Path) -> None:
    checkpoint_file.load_pretrained(_net(), path)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def _pickle_seeds() -> list[bytes]:
    return [members["archive/data.pkl"] for members in map(_members, _checkpoint_seeds())]


def _archived(pickled: bytes) -> bytes:
    """A checkpoint of that pickle, with the members of the first seed."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in (_members(_checkpoint_seeds()[0]) | {"archive/data.pkl": pickled}).items():
            archive.writestr(name, content)
    return made.getvalue()


def _model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    shape = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 4, JOINTS, 1])
    scores = helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["batch", 2])
    nodes = [
        helper.make_node("Squeeze", ["input", "axes"], ["flat"]),
        helper.make_node("Conv", ["flat", "w"], ["made"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["made"], ["fc_pred"], axes=[2, 3], keepdims=0),
    ]
    axes = numpy_helper.from_array(np.array([4], np.int64), "axes")
    graph = helper.make_graph(nodes, "g", [shape], [scores], [weight, axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _onnx_seeds() -> list[bytes]:
    plain, outside = _model(), _model()
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    return [plain.SerializeToString(), outside.SerializeToString()]


@cache
def _config() -> ExperimentConfig:
    return experiment(Path(), Path(), model__graph_layout="openpose", dataset__num_classes=2)


def _scored(path: Path) -> None:
    scorers.open_scorer(path, _config(), torch.device("cpu"))(np.ones((1, 3, 4, JOINTS, 1), np.float32))


def _engine_source(path: Path) -> None:
    model = tensorrt_precision.read_onnx(path, None)
    tensorrt_precision.to_fp16(model)
    tensorrt_precision.to_int8(model, {name: 1.0 for node in model.graph.node for name in node.input})


def _spec(path: Path) -> None:
    pairs = full_keys(ExperimentConfig, load.read_spec_file(path), SHORT, path.name)
    written = load.override(ExperimentConfig, {}, pairs)
    values = resolve(written, Scope(config_type=ExperimentConfig, values=lambda: written, environment={"HOME": "/h"}))
    load.given_keys(values)
    spec = load.check(ExperimentConfig, "train", load.project(ExperimentConfig, "train", values)[0])
    json.dumps(spec, allow_nan=False).encode()
    load.build(ExperimentConfig, spec)


def _mounts(path: Path) -> None:
    config = tao_mounts.read(path)
    mounted = [f"{mount.destination}/x" for mount in config.mounts] + ["/workspace/y"]
    config.summary(mounted).encode()
    for one in mounted:
        config.local_spec(MODEL, {"results_dir": one})


def _override(path: Path) -> None:
    pair = load.parse_override(path.read_bytes().decode("utf-8", "surrogateescape"))
    json.dumps(load.override(ExperimentConfig, {}, [pair])).encode()


_SPECS: Final = (
    b"train:\n  optim: {lr: 1e-3, lr_steps: [10, 20]}\n  num_epochs: 5\ndataset:\n  label_map: {walk: 0}\n",
    b"a: &x [1, 0x1f, .inf]\nb: *x\nmodel: {graph_layout: 'openpose'}\ntrain:\n  seed: !!float 1.5\n",
    b"dataset:\n  train_dataset:\n    data_path: x.npy\n    label_path: y.pkl\n",
    b"train.seed: ${dataset.num_classes}\nlr: 0.1\ntrain:\n  optim.momentum: 0.5\n  results_dir: ${.seed}/\\${x}\n"
    b"num_classes: 6\nmodel_name: ${oc.env:HOME}/${oc.env:GONE,${train.results_dir}}\n",
)
_YAML_TOKENS: Final = (
    b"&a ",
    b"*a",
    b"!!float ",
    b"!!map ",
    b"!!int ",
    b"- ",
    b"? ",
    b": ",
    b"<<",
    b"|\n",
    b'"\\U',
    b"0x",
    b"${",
    b"}",
    b"${oc.env:",
    b"train.optim.lr",
)


def _request(path: Path) -> None:
    words = path.read_bytes().decode("utf-8", "surrogateescape")
    decide(action="train", explicit=None, request=words, automl_enabled=True, missing=None)


def _job() -> Job:
    attempt = Attempt(number=1, state="RUNNING", pid=1, pid_created=1.5, host="h", started="2026-01-01T00:00:00+00:00")
    return Job(
        id=JOB,
        model="pose_classification",
        action="train",
        results_dir="/r",
        created="2026-01-01T00:00:00+00:00",
        route={"policy": "auto", "route": "direct", "reason": "because"},
        attempts=(attempt,),
        metrics={"val_acc": 0.5, "odd": None},
        artifacts=({"kind": "model", "path": "/r/m.pth"},),
        spec={"train": {"num_epochs": 3}},
    )


def _record(path: Path) -> None:
    job = Store(path.parents[1])._read(path.parent)
    json.dumps([job_document(job), job.to_dict()], allow_nan=False, ensure_ascii=False).encode()
    list(next_runs(job))


def _index(path: Path) -> None:
    checkpoint_index.best(checkpoint_index.read_index(path.parent), "val_acc")
    checkpoint_index.latest(path.parent)


_CHECKPOINTS: Final = [
    asdict(
        checkpoint_index.Checkpoint(
            file=checkpoint_index.checkpoint_name(n, n), epoch=n, step=n, metrics={"val_acc": 0.5 + n}
        )
    )
    for n in range(2)
]
_STATUS: Final = (
    b'{"date": "1/1/2026", "status": "RUNNING", "epoch": 0, "max_epoch": 2, "kpi": {"val_acc": 0.5, "x": null}}\n'
    b'{"status": "SUCCESS", "message": "m"}\n'
)


def _status(path: Path) -> None:
    status.read_status(path.parent)
    train.history(path.parent, 5)


def _progress(path: Path) -> None:

    job = Job(**{**_job().__dict__, "results_dir": str(path.parent)})
    if (found := launch.read_progress(job)) is not None:
        assert found.fraction >= 0
        assert isinstance(found.text, str)


def _report(path: Path) -> None:
    from rich.console import Console

    from tao_skill.automl.report.live import lines, table

    job = Job(**{**_job().__dict__, "automl": {}})
    found = files.read_report(path.parent, job)
    lines(None, found)
    with path.with_name("shown").open("w", encoding="utf-8") as stream:
        Console(file=stream).print(table(found))
    reports._concise_search(found)


def _search_report() -> dict[str, Any]:
    setup = make_setup(trials=4)
    values = {LR: 0.1, MOMENTUM: 0.5, BATCH: 64, INIT: "zero"}
    history = ({"val_acc": 0.5, "val_loss": 1.0},) * 9
    default = Trial(number=0, full=9, values=values, history=history, target=9, state="done", seconds=4.0)
    running = Trial(
        number=1, full=9, values=values, state="running", history=history[:1], target=3, failures=("out of memory",)
    )
    failed = Trial(number=2, full=9, values=values, state="failed", reason="out of memory")
    return document(setup, [default, running, failed], FACTS)


def _journal(path: Path) -> None:
    with FileJournal(path, job=JOB, goal=make_setup().goal) as journal:
        journal.load()


def _journal_seeds() -> list[bytes]:
    metrics = {"val_acc": 0.5, "val_loss": float("nan")}
    values = {LR: 0.1, INIT: "zero"}
    running = Trial(
        number=0, full=9, values=values, history=(metrics,), target=3, state="running", failures=("out of memory",)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = journal_path(Path(folder))
        with FileJournal(path, job=JOB, goal=make_setup().goal) as journal:
            for trial in (running, replace(running, number=1), replace(running, state="done")):
                journal.save(trial)
        return [path.read_bytes()]


def _summary(action: str, kind: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        artifact = {"kind": kind, "path": str(path)}
        job = Job(**{**_job().__dict__, "action": action, "artifacts": (artifact,)})
        context = ToolContext(roots=Roots(folders=(path.parent,)), results_root=path.parent, environment={})
        report = reports._read(job, context)
        assert report is not None
        return reports._summarize(job, report)

    return read


def _skill(path: Path) -> None:
    skills._read(path.parent)


def _bank(path: Path) -> None:
    for name in ("schemas", "skills"):
        (path.parents[2] / name).mkdir(exist_ok=True)
    bank.skill_info("m", path.parents[2])


_EVALUATION: Final = {
    "accuracy": 50.0,
    "avg_accuracy": 40.0,
    "classes": [
        {"name": "a", "id": 0, "sequences": 2, "accuracy": 50.0},
        {"name": "b", "id": 1, "sequences": 0, "accuracy": None},
    ],
    "confusion_matrix": [[1, 1], [0, 0]],
}
_ENTRY: Final = asdict(s3_cache.Entry(uri="s3://b/x.npy", file="x.npy", size=1, version="1", blake2b="00"))
_RANGES: Final = {"onnx_sha256": "00", "sequences": 12, "ranges": {"x": 1.5}}
_MOUNTS: Final = {
    "Mounts": [{"source": "/", "destination": "/workspace"}, {"source": "~", "destination": "/workspace/y"}],
    "Envs": [{"variable": "CUDA_DEVICE_ORDER", "value": "PCI_BUS_ID"}],
    "DockerOptions": {"shm_size": "16G", "user": "1000:1000"},
}
_OPCODES: Final = (
    *(bytes([one]) for one in b"()]}.02aRbtuse\x81\x85\x86\x87\x88\x89\x8f\x90\x92\x93\x94\x97\x98"),
    b"cos\nsystem\n",
    b"cnumpy\ndtype\n",
    b"h\x00",
    b"q\x00",
    b"\x8b\xff\xff\xff\x7f",
    b"\x95" + b"\xff" * 8,
    b"Ncollections\nOrderedDict\n",
    b"L" + b"9" * 5000 + b"L\n",
)
_JOINED: Final = '{"people": [{"pose_keypoints_2d": [' + ", ".join(["0.5"] * 54) + "]}]}"

PARSERS: Final[Mapping[str, Parser]] = {
    "sequences": Parser(read=_sequences, file="x.npy", seeds=_npy_seeds, tokens=(b"'<f4'", b"(-1,", b"'|O'", b"True")),
    "labels": Parser(read=sequences.read_labels, file="y.pkl", seeds=_label_seeds, tokens=_OPCODES),
    "pyskl": Parser(read=_imported(pyskl.read, split="a"), file="x.pkl", seeds=_pyskl_seeds, tokens=_OPCODES),
    "kinetics": Parser(read=kinetics.read_clip, file="c.json", seeds=_text(_kinetics(0), _kinetics(9))),
    "ntu": Parser(read=ntu.read_clip, file="S001C001P001R001A001.skeleton", seeds=_ntu_seeds),
    "openpose": Parser(
        read=_imported(openpose.read, width=320, height=240),
        file="c_000000000001_keypoints.json",
        seeds=lambda: [_JOINED.encode(), b'{"people": []}'],
    ),
    "label file": Parser(
        read=labels.read_label_file,
        file="l.json",
        seeds=_text({"c": 1, "d": 2}, {"c": {"label_index": 1, "label": "x"}}),
    ),
    "label map": Parser(read=_classes, file="label_map.json", seeds=_text({"walk": 0, "sit": 1})),
    "class names": Parser(read=label_map.read, file="label_map.json", seeds=_text({"walk": 0, "sit": 1})),
    "deepstream": Parser(read=_converted, file="r.json", seeds=_text(_recording())),
    "checkpoint": Parser(read=_checkpoint(None), file="c.pth", seeds=_checkpoint_seeds, tokens=_OPCODES, weight=0.5),
    "checkpoint before torch 1.6": Parser(
        read=_pretrained,
        file="c.pth",
        seeds=lambda: _checkpoint_seeds(zipped=False),
        tokens=(*_OPCODES, b"Q", b"storage", b"module."),
        weight=0.5,
    ),
    "checkpoint's pickle": Parser(
        read=lambda path: checkpoint_file.network_state(checkpoint_file.load(path)),
        file="c.pth",
        seeds=_pickle_seeds,
        tokens=_OPCODES,
        wrap=_archived,
    ),
    "sealed": Parser(
        read=_checkpoint(KEY),
        file="c.pth",
        seeds=lambda: [encryption.encrypt(data, KEY) for data in _checkpoint_seeds()],
        weight=0.1,
    ),
    "onnx": Parser(read=_scored, file="m.onnx", seeds=_onnx_seeds),
    "onnx to engine": Parser(read=_engine_source, file="m.onnx", seeds=_onnx_seeds),
    "spec, yaml": Parser(read=_spec, file="s.yaml", seeds=lambda: list(_SPECS), tokens=_YAML_TOKENS, weight=0.5),
    "spec, json": Parser(read=_spec, file="s.json", seeds=_text({"train": {"optim": {"lr": 0.1}}, "dataset": {}})),
    "override": Parser(
        read=_override,
        file="o",
        seeds=lambda: [b"train.optim.lr=1e-3", b"dataset.label_map={walk:0,sit:1}", b"~train.seed", b"++a.b=[1,2]"],
        tokens=_YAML_TOKENS,
    ),
    "mounts of the launcher": Parser(read=_mounts, file=tao_mounts.FILE, seeds=_text(_MOUNTS, {"Mounts": []})),
    "request": Parser(
        read=_request,
        file="r",
        seeds=lambda: [b"no HPO, please", b"don't tune momentum; AutoML: on?", "不要使用AutoML".encode()],
        tokens=(b"not ", b"AutoML ", b"skip ", b"if ", b"n't", b", ", b"? ", "なし".encode()),
    ),
    "job.json": Parser(read=_record, file=f"{JOB}/{RECORD_FILE}", seeds=_text(_job().to_dict())),
    "checkpoints.json": Parser(read=_index, file=checkpoint_index.INDEX, seeds=_text(_CHECKPOINTS)),
    "status.json": Parser(read=_status, file=status.STATUS_FILE, seeds=lambda: [_STATUS]),
    "progress.json": Parser(
        read=_progress,
        file=status.PROGRESS_FILE,
        seeds=_text(
            {"epoch": 1, "epochs": 3, "batch": 1, "batches": 4, "train_loss": 0.5, "eta_s": 3.5, "epochs_done": 1},
            {"staging": "x", "bytes": 1, "bytes_total": 4, "eta_s": None},
        ),
    ),
    "report of a search": Parser(read=_report, file=files.REPORT_FILE, seeds=_text(_search_report()), weight=0.5),
    "journal of a search": Parser(
        read=_journal, file="journal.jsonl", seeds=_journal_seeds, tokens=(b"\n", b'"nan"', b'"number": 1', b"\0")
    ),
    "report of an evaluation": Parser(read=_summary("evaluate", "report"), file="r.json", seeds=_text(_EVALUATION)),
    "calibration cache": Parser(read=gen_trt_engine._read_ranges, file="c.json", seeds=_text(_RANGES)),
    "cache entry": Parser(read=lambda path: s3_cache._entry(path.parent), file="entry.json", seeds=_text(_ENTRY)),
    "SKILL.md": Parser(read=_skill, file="SKILL.md", seeds=lambda: [b"---\nname: a\ndescription: b\n---\n# A\n"]),
    "skill_info.yaml": Parser(
        read=_bank, file="references/m/skill_info.yaml", seeds=lambda: [b"automl_enabled: true\naliases: [a]\n"]
    ),
}
