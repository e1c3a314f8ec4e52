"""Building and running TensorRT engines, against a fake of TensorRT's Python API (see fake_tensorrt)."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tao_skill.errors import BadData, JobFailed, MissingDependency
from tao_skill.io import encryption
from tao_skill.models.pose_classification.actions import gen_trt_engine
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.deploy import onnx_graph, onnx_int8, tensorrt_engine, tensorrt_precision
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.support.experiments import FRAMES
from tests.support.networks import acquainted, export
from tests.support.tensorrt.engines import KEY, built, contents, task
from tests.support.tensorrt.fake import API, VERSIONS, install


def onnx_scores(model: Any, x_NCTVM: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x_NCTVM})[0]


@pytest.fixture(scope="module")
def skeletons(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences that a network sees: generated, coordinates normalised."""
    x_NCTVM = np.load(tiny / "train_data.npy").astype(np.float32)
    assert x_NCTVM.shape[2] == FRAMES
    path = tmp_path_factory.mktemp("calibration") / "skeletons.npy"
    np.save(path, (x_NCTVM - x_NCTVM.mean()) / x_NCTVM.std())
    return path


def int8(skeletons: Path | None, **changes: Any) -> dict[str, Any]:
    return {
        "tensorrt.data_type": "int8",
        "tensorrt.calibration.cal_image_dir": str(skeletons) if skeletons else None,
        "tensorrt.calibration.cal_batch_size": 4,
        "tensorrt.calibration.cal_batches": 3,
        **{f"tensorrt.calibration.{name}": value for name, value in changes.items()},
    }


def test_an_engine_scores_as_the_network_it_was_built_from(
    trt: Any, network: STGCN, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    engine = built(onnx_file, tmp_path)
    assert engine == tmp_path / "gen_trt_engine" / "model.engine"
    x_NCTVM = np.load(skeletons)
    found_NK = tensorrt_engine.open_engine(engine, None)(x_NCTVM)
    with torch.no_grad():
        expected_NK = network(torch.from_numpy(x_NCTVM)).numpy()
    np.testing.assert_allclose(found_NK, expected_NK, atol=1e-4)
    messages = [json.loads(line) for line in (tmp_path / "gen_trt_engine" / "status.json").read_text().splitlines()]
    assert [line["status"] for line in messages] == ["STARTED", "RUNNING", "SUCCESS"]
    assert trt.__version__ in messages[1]["message"]
    assert set(messages[2]["kpi"]) == {"build_s", "engine_mib"}


def test_fp16_is_in_the_onnx_of_the_blocks_and_nowhere_else(
    trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    head, model = contents(built(onnx_file, tmp_path, **{"tensorrt.data_type": "fp16"}))
    assert head["version"] == trt.__version__
    halves = {one.name for one in model.graph.initializer if one.data_type == TensorProto.FLOAT16}
    typed = {one.name: one.data_type for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(node.input[1] in halves for node in convolutions)
    assert {typed[name] for name in ("data_bn.scale", "data_bn.shift", "fcn.weight")} == {TensorProto.FLOAT}
    x_NCTVM = np.load(skeletons)
    exact_NK = onnx_scores(onnx.load(onnx_file), x_NCTVM)
    halved_NK = onnx_scores(model, x_NCTVM)
    assert halved_NK.dtype == np.float32
    assert 0 < np.abs(halved_NK - exact_NK).max() < 0.01 * np.abs(exact_NK).max()


@pytest.fixture(scope="module")
def onnx_of_torch(network: STGCN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as torch writes it, which takes many seconds."""
    return export(network, tmp_path_factory.mktemp("torch") / "model.onnx")


def test_fp16_bears_millimetres(onnx_of_torch: Path) -> None:
    """Coordinates of thousands have a variance beyond fp16; their batch norm stays fp32."""
    x_NCTVM = np.random.default_rng(0).normal(2000.0, 500.0, (4, 3, FRAMES, 34, 1)).astype(np.float32)
    model = tensorrt_precision.read_onnx(onnx_of_torch, None)
    weights = {one.name: one for one in model.graph.initializer}
    for name, value in (("data_bn.running_mean", 2000.0), ("data_bn.running_var", 500.0**2)):
        values = np.full_like(numpy_helper.to_array(weights[name]), value)
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    exact_NK, halved_NK = onnx_scores(model, x_NCTVM), onnx_scores(tensorrt_precision.to_fp16(model), x_NCTVM)
    np.testing.assert_allclose(halved_NK, exact_NK, atol=0.01 * np.abs(exact_NK).max())


def test_reduced_precision_of_an_onnx_that_torch_wrote_tells_sequences_apart_as_fp32_does(
    onnx_of_torch: Path, skeletons: Path
) -> None:
    """With batch norms and transposes, where the export action writes neither."""
    model = tensorrt_precision.read_onnx(onnx_of_torch, None)
    assert {"BatchNormalization", "Transpose"} <= {node.op_type for node in model.graph.node}
    assert_alike(model, np.load(skeletons))


def assert_alike(model: Any, x_NCTVM: Any) -> None:
    """Scores of a class rise and fall in reduced precision as they do in fp32."""
    ranges = tensorrt_precision.calibrate(model, np.array_split(x_NCTVM[::2], 4))
    exact_NK = onnx_scores(model, x_NCTVM)
    for converted, least in (
        (tensorrt_precision.to_fp16(model), 0.9999),
        (tensorrt_precision.to_int8(model, ranges), 0.99),
    ):
        found_NK = onnx_scores(converted, x_NCTVM)
        likeness_K = [np.corrcoef(found_NK[:, k], exact_NK[:, k])[0, 1] for k in range(exact_NK.shape[1])]
        assert least < min(likeness_K) < 1


def test_int8_stands_between_symmetric_nodes_and_stays_near(
    trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    _, model = contents(built(onnx_file, tmp_path, **int8(skeletons)))
    made_by = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
    assert not any(name in made_by for name in model.graph.node[-1].input[1:])
    x_NCTVM = np.load(skeletons)
    exact_NK, rounded_NK = onnx_scores(onnx.load(onnx_file), x_NCTVM), onnx_scores(model, x_NCTVM)
    spread = exact_NK.std(axis=0).mean()
    assert 0 < np.abs(rounded_NK - exact_NK).mean() < 0.2 * spread


def test_reduced_precision_tells_real_recordings_apart_as_fp32_does(real_data: Path) -> None:
    x_NCTVM = np.load(real_data / "utkinect" / "train_data.npy")[:64, :, :32].astype(np.float32)
    layout = next(name for name, one in LAYOUTS.items() if one.joints == x_NCTVM.shape[3])
    torch.manual_seed(7)
    net = acquainted(STGCN(layout=LAYOUTS[layout], num_classes=10, dropout=0.0), torch.from_numpy(x_NCTVM))
    assert_alike(onnx_graph.to_onnx(net, frames=32), x_NCTVM)


def test_ranges_are_kept_and_used_again_for_the_same_model_only(
    trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache.json"
    first = contents(built(onnx_file, tmp_path / "a", **int8(skeletons, cal_cache_file=str(cache))))
    again = contents(built(onnx_file, tmp_path / "b", **int8(None, cal_cache_file=str(cache))))
    assert first[1] == again[1]
    assert json.loads(cache.read_text())["sequences"] == 12
    model = onnx.load(onnx_file)
    (weight,) = (one for one in model.graph.initializer if one.name == "st_gcn_networks.3.tcn.weight")
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    with pytest.raises(BadData, match="another ONNX"):
        built(other, tmp_path / "c", **int8(None, cal_cache_file=str(cache)))
    before = cache.read_text()
    built(onnx_file, tmp_path / "b", **int8(skeletons, cal_cache_file=str(cache)))
    assert cache.read_text() == before
    built(other, tmp_path / "c", **int8(skeletons, cal_cache_file=str(cache)))
    assert cache.read_text() != before
    cache.write_text("[]")
    with pytest.raises(BadData, match="not a calibration cache"):
        built(onnx_file, tmp_path / "d", **int8(skeletons, cal_cache_file=str(cache)))


def test_calibration_is_spread_over_a_sorted_file(skeletons: Path, onnx_file: Path, tmp_path: Path) -> None:
    config = task(onnx_file, tmp_path, **int8(skeletons, cal_batch_size=2, cal_batches=3))
    calibration = config.gen_trt_engine.tensorrt.calibration
    batches = list(gen_trt_engine.calibration_batches(calibration, (-1, 3, FRAMES, 34, 1)))
    assert [batch.shape for batch in batches] == [(2, 3, FRAMES, 34, 1)] * 3
    np.testing.assert_array_equal(np.concatenate(batches), np.load(skeletons)[[0, 2, 4, 7, 9, 11]])
    with pytest.raises(BadData, match=r"the ONNX input has \(-1, 3, 99, 34, 1\)"):
        next(gen_trt_engine.calibration_batches(calibration, (-1, 3, 99, 34, 1)))
    with pytest.raises(BadData, match="in batches of 2") as caught:
        next(gen_trt_engine.calibration_batches(calibration, (5, 3, FRAMES, 34, 1)))
    assert "cal_batch_size=5" in caught.value.fix


def test_calibration_with_nan_is_refused(onnx_file: Path) -> None:
    x_NCTVM = np.zeros((2, 3, FRAMES, 34, 1), np.float32)
    x_NCTVM[1, 0, 0, 0, 0] = np.nan
    with pytest.raises(BadData, match="not finite"):
        tensorrt_precision.calibrate(tensorrt_precision.read_onnx(onnx_file, None), [x_NCTVM, np.zeros_like(x_NCTVM)])


def test_batches_are_split_and_filled_to_the_profile(
    trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    batches = {"tensorrt.min_batch_size": 3, "tensorrt.opt_batch_size": 4, "tensorrt.max_batch_size": 5}
    engine = built(onnx_file, tmp_path, **batches)
    assert [shape[0] for shape in contents(engine)[0]["profile"]["input"]] == [3, 4, 5]
    score = tensorrt_engine.open_engine(engine, None)
    x_NCTVM = np.load(skeletons)
    whole_NK = score(x_NCTVM)
    assert whole_NK.shape == (12, 6)
    np.testing.assert_allclose(np.concatenate([score(x_NCTVM[:1]), score(x_NCTVM[1:])]), whole_NK, atol=1e-5)
    with pytest.raises(BadData, match=rf"takes sequences .* \(3, {FRAMES}, 34, 1\)"):
        score(x_NCTVM[:, :, :4])


def test_a_fixed_batch_of_the_onnx_must_be_that_of_the_engine(
    trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path
) -> None:
    model = onnx.load(onnx_file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    fixed = tmp_path / "fixed.onnx"
    onnx.save(model, fixed)
    with pytest.raises(BadData, match="fixed batch of 3") as caught:
        built(fixed, tmp_path)
    assert "gen_trt_engine.batch_size=3" in caught.value.fix
    score = tensorrt_engine.open_engine(built(fixed, tmp_path, batch_size=3), None)
    assert score(np.load(skeletons)[:4]).shape == (4, 6)


def test_the_timing_cache_is_read_updated_and_replaced_where_it_does_not_fit(
    trt: Any, onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "timing.cache"
    settings = {"timing_cache": str(cache), "verbose": True}
    built(onnx_file, tmp_path, **settings)
    assert "Timing cache miss" in capsys.readouterr().err
    built(onnx_file, tmp_path, **settings)
    assert "Timing cache hit" in capsys.readouterr().err
    size = cache.stat().st_size
    built(onnx_file, tmp_path, **settings, **{"tensorrt.data_type": "fp16"})
    assert cache.stat().st_size > size
    for unfit in (b"damaged", cache.read_bytes().replace(trt.__version__.encode(), b"10.0.0")):
        cache.write_bytes(unfit)
        capsys.readouterr()
        built(onnx_file, tmp_path, **settings)
        printed = capsys.readouterr()
        assert "does not fit" in printed.out
        assert "Timing cache miss" in printed.err
        assert trt.__version__.encode() in cache.read_bytes()


def test_builder_messages_are_heard_when_asked_for(
    trt: Any, onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(onnx_file, tmp_path)
    assert "VERBOSE" not in capsys.readouterr().err
    built(onnx_file, tmp_path, verbose=True)
    assert "[TensorRT VERBOSE] Building" in capsys.readouterr().err


def test_a_refused_onnx_and_a_failed_build_say_tensorrts_reason(trt: Any, onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="insufficient workspace") as caught:
        built(onnx_file, tmp_path, **{"tensorrt.workspace_size": 1})
    assert "workspace_size" in caught.value.fix
    shape: list[str | int] = ["batch", 1, 1, 3, 3]
    graph = helper.make_graph(
        [helper.make_node("Det", ["input"], ["fc_pred"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, shape[:3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "det.onnx")
    with pytest.raises(BadData, match="No importer registered for op: Det"):
        built(tmp_path / "det.onnx", tmp_path)
    assert not (tmp_path / "gen_trt_engine" / "model.engine").exists()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"no model", lambda data: data[: len(data) // 2]])
def test_damaged_files_are_one_clear_line(trt: Any, onnx_file: Path, tmp_path: Path, damage: Any) -> None:
    for name, good, use in (
        ("model.onnx", onnx_file, lambda path: built(path, tmp_path)),
        ("other.engine", built(onnx_file, tmp_path), lambda path: tensorrt_engine.open_engine(path, None)),
    ):
        bad = tmp_path / name
        bad.write_bytes(damage(good.read_bytes()))
        with pytest.raises(BadData, match=name) as caught:
            use(bad)
        assert "\n" not in caught.value.message


def test_an_onnx_of_other_inputs_is_refused(onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_file)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(BadData, match="'more'"):
        tensorrt_precision.read_onnx(tmp_path / "two.onnx", None)


def test_an_onnx_of_any_length_is_refused(tmp_path: Path) -> None:
    onnx.save(onnx_graph.to_onnx(STGCN(), frames=None, persons=2), tmp_path / "any.onnx")
    with pytest.raises(BadData, match=r"any\.onnx has an input of \(-1, 3, -1, 34, 2\)") as caught:
        tensorrt_precision.read_onnx(tmp_path / "any.onnx", None)
    assert "export.sequence_length" in caught.value.fix


def test_an_onnx_that_is_int8_for_onnxruntime_is_refused(onnx_file: Path, skeletons: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_file)
    onnx.save(onnx_int8.to_int8(model, onnx_int8.calibrate(model, [np.load(skeletons)])), tmp_path / "int8.onnx")
    with pytest.raises(BadData, match=r"int8\.onnx is in int8") as caught:
        tensorrt_precision.read_onnx(tmp_path / "int8.onnx", None)
    assert "export.precision=fp32" in caught.value.fix


def test_an_engine_of_another_tensorrt_is_refused(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(VERSIONS[0], monkeypatch)
    engine = built(onnx_file, tmp_path)
    install(VERSIONS[1], monkeypatch)
    with pytest.raises(BadData, match="Version tag does not match"):
        tensorrt_engine.open_engine(engine, None)


def test_onnx_and_engine_may_be_encrypted(trt: Any, onnx_file: Path, skeletons: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed.onnx"
    sealed.write_bytes(encryption.encrypt(onnx_file.read_bytes(), "secret"))
    engine = built(sealed, tmp_path, encryption_key="secret")
    assert engine.read_bytes().startswith(b"TAOSKILL")
    assert tensorrt_engine.open_engine(engine, "secret")(np.load(skeletons)).shape == (12, 6)
    for key in (None, "wrong"):
        with pytest.raises(BadData, match="encrypted"):
            tensorrt_engine.open_engine(engine, key)
        with pytest.raises(BadData, match="encrypted"):
            tensorrt_precision.read_onnx(sealed, key)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tensorrt.min_batch_size": 3}, "tensorrt.opt_batch_size"),
        ({"tensorrt.opt_batch_size": 3}, "tensorrt.max_batch_size"),
        ({"tensorrt.data_type": "int8"}, "tensorrt.calibration.cal_image_dir"),
        (int8(None, cal_cache_file="/no/such.json"), "tensorrt.calibration.cal_image_dir"),
        (int8(Path(__file__)), "tensorrt.calibration.cal_image_dir"),
    ],
)
def test_a_plan_names_what_cannot_be_built(onnx_file: Path, tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    problems = check(task(onnx_file, tmp_path, **changes), "gen_trt_engine").problems
    assert [problem.key for problem in problems] == [KEY + key]


def test_a_plan_compares_calibration_with_its_data(onnx_file: Path, skeletons: Path, tmp_path: Path) -> None:
    assert not check(task(onnx_file, tmp_path, **int8(skeletons)), "gen_trt_engine").problems
    too_many = task(onnx_file, tmp_path, **int8(skeletons, cal_batches=4))
    (problem,) = check(too_many, "gen_trt_engine").problems
    assert problem.key == f"{KEY}tensorrt.calibration.cal_batches"
    assert "16" in problem.message
    assert "12" in problem.message


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_tensorrt_a_plan_warns_and_a_run_exits_with_4(onnx_file: Path, tmp_path: Path) -> None:
    def call(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["run", "gen_trt_engine", f"{KEY}onnx_file={onnx_file}", "--results-root", str(tmp_path), *more]
        return subprocess.run(
            [sys.executable, "-m", "tao_skill", *command, "--json"], capture_output=True, text=True, check=False,
            env=dict(os.environ), timeout=120,
        )  # fmt: skip

    planned = call("--dry-run")
    assert planned.returncode == 0
    assert any("TensorRT is not installed" in warning for warning in json.loads(planned.stdout)["plan"]["warnings"])
    ran = call()
    document = json.loads(ran.stdout)
    assert ran.returncode == 4, ran.stdout
    assert document["error"]["code"] == "missing_dependency"
    assert "tao-skill[tensorrt]" in document["error"]["fix"]
    assert not list(tmp_path.rglob("*.engine"))


def test_without_a_gpu_nothing_is_begun(onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    find_gpu = tensorrt_engine.find_gpu
    install(VERSIONS[1], monkeypatch)
    monkeypatch.setattr(tensorrt_engine, "find_gpu", find_gpu)
    with pytest.raises(MissingDependency, match="GPU 0 does not exist: 0 found"):
        built(onnx_file, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unusable_gpu_and_an_old_tensorrt_are_missing_dependencies(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = install(VERSIONS[0], monkeypatch, has_gpu=False)
    with pytest.raises(MissingDependency, match="CUDA initialization failure"):
        built(onnx_file, tmp_path)
    trt.__version__ = "8.6.1"
    with pytest.raises(MissingDependency, match=r"TensorRT 8\.6\.1 is installed; 10 or 11"):
        built(onnx_file, tmp_path)


def test_the_fake_offers_nothing_that_tensorrt_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [version.split(".")[0] for version in VERSIONS] == ["10", "11"]
    old, new = (install(version, monkeypatch) for version in VERSIONS)
    assert old.BuilderFlag.FP16 is not None
    for name in ("FP16", "INT8"):
        with pytest.raises(AttributeError):
            getattr(new.BuilderFlag, name)
    with pytest.raises(AttributeError):
        _ = new.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    builder = new.Builder(tensorrt_engine.message_log(new))
    config = builder.create_builder_config()
    for wrong in (
        lambda: builder.create_network("strong"),
        lambda: builder.create_network(flag=1),
        lambda: config.set_memory_pool_limit(0, 1),
        lambda: config.set_timing_cache(config.create_timing_cache(b"")),
        lambda: new.Builder(3),
    ):
        with pytest.raises(TypeError):
            wrong()
    for absent in ("int8_calibrator", "max_workspace_size"):
        with pytest.raises(AttributeError):
            getattr(config, absent)
        with pytest.raises(AttributeError):
            setattr(config, absent, 1)
    assert set(API[VERSIONS[1]]["classes"]) <= set(API[VERSIONS[0]]["classes"])
