"""References as Hydra and OmegaConf write them: `${results_dir}`, `${oc.env:NAME}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.cli.program import tao_skill
from tao_skill.errors import SpecError
from tao_skill.jobs.record import Ending
from tao_skill.jobs.store import Store
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.planning.job import SPEC_FILE, open_job
from tao_skill.planning.plan import Plan, make_plan
from tao_skill.planning.request import Request
from tao_skill.runner import load_runner
from tao_skill.spec import load
from tao_skill.spec.references import MAX_DEPTH, Scope, escaped, resolve
from tao_skill.spec.tree import lookup
from tests.support.experiments import dataset_overrides, leave_checkpoints

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = "train-20260102-030405-beef"


def resolved(values: dict[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Values whose references are to one another."""
    scope = Scope(config_type=ExperimentConfig, values=lambda: values, environment=environment or {}, file="s.yaml")
    return resolve(values, scope)


def refusal(values: dict[str, Any], environment: Mapping[str, str] | None = None) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolved(values, environment)
    return caught.value


def planned(
    root: Path,
    text: str,
    *overrides: str,
    action: str = "train",
    environment: Mapping[str, str] | None = None,
    **asked: Any,
) -> Plan:
    """The plan of a spec file."""
    (root / "s.yaml").write_text(text, "utf-8")
    request = Request(spec_file=root / "s.yaml", overrides=overrides, **asked)
    runner = load_runner("pose_classification", action)
    return make_plan(runner, request, Store(root), environment=environment or {}, now=NOW, token="beef")


@pytest.fixture
def data(tiny: Path) -> list[str]:
    return dataset_overrides(tiny)


def test_a_whole_reference_keeps_the_type_and_others_are_inserted() -> None:
    values = {
        "dataset": {"num_classes": 6, "label_map": {"a": 0, "b": "${dataset.num_classes}"}},
        "train": {"num_epochs": "${dataset.num_classes}", "gpu_ids": [3, 4], "optim": {"lr": 1e-3}},
        "evaluate": {"gpu_ids": "${train.gpu_ids}", "gpu_id": "${train.gpu_ids[1]}", "num_gpus": "${train.gpu_ids.0}"},
        "wandb": {"tags": ["${model_name}", "e${train.num_epochs}"], "name": "lr ${train.optim.lr} of ${model_name}"},
        "model_name": "pose",
    }
    found = resolved(values)
    assert found["train"]["num_epochs"] == 6
    assert found["dataset"]["label_map"] == {"a": 0, "b": 6}
    assert found["evaluate"] == {"gpu_ids": [3, 4], "gpu_id": 4, "num_gpus": 3}
    assert found["wandb"] == {"tags": ["pose", "e6"], "name": "lr 0.001 of pose"}


def test_references_may_be_relative_and_nested() -> None:
    values = {
        "train": {"seed": 3, "num_epochs": "${.seed}", "optim": {"patience": "${..seed}", "lr": "${...x.lr}"}},
        "x": {"lr": 0.5, "which": "seed"},
        "model_name": "${train.${x.which}}",
    }
    found = resolved(values)
    assert found["train"] == {"seed": 3, "num_epochs": 3, "optim": {"patience": 3, "lr": 0.5}}
    assert found["model_name"] == 3


def test_a_relative_reference_is_seen_from_where_it_stands() -> None:
    values = {"model_name": "${wandb.name}", "wandb": {"name": "${.group}", "group": "g"}}
    assert resolved(values)["model_name"] == "g"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\${model_name}", "${model_name}"),
        (r"a\${x}b${model_name}", "a${x}bpose"),
        (r"\\${model_name}", r"\pose"),
        (r"\\\${model_name}", r"\${model_name}"),
        (r"\d$x{y}", r"\d$x{y}"),
    ],
)
def test_an_escaped_reference_stays(text: str, value: str) -> None:
    assert resolved({"model_name": "pose", "wandb": {"name": text}})["wandb"]["name"] == value


@given(st.text("\\${}ab.:", max_size=12))
def test_an_escaped_value_is_resolved_to_itself(text: str) -> None:
    values = {"wandb": {"tags": [text]}}
    assert resolved(escaped(values)) == values


def test_environment_variables_have_defaults_and_are_read_as_their_parameter_is() -> None:
    environment = {"NAME": "n", "EPOCHS": "7", "GPUS": "[0, 1]", "EMPTY": ""}
    values = {
        "model_name": "${oc.env:NAME}",
        "train": {
            "num_epochs": "${oc.env:EPOCHS}",
            "gpu_ids": "${oc.env:GPUS}",
            "results_dir": "${oc.env:OUT,/tmp}/${oc.env:NAME}",
            "seed": "${oc.env: SEED , 5}",
            "precision": "${oc.env:EMPTY}",
        },
        "wandb": {
            "name": "${oc.env:GONE, ${model_name}}",
            "group": "${oc.env:GONE,null}",
            "project": "${oc.env:GONE,'a, b'}",
            "entity": "${oc.env:EPOCHS}",
        },
    }
    found = resolved(values, environment)
    assert found["model_name"] == "n"
    assert found["train"] == {"num_epochs": 7, "gpu_ids": [0, 1], "results_dir": "/tmp/n", "seed": 5, "precision": ""}
    assert found["wandb"] == {"name": "n", "group": None, "project": "a, b", "entity": "7"}


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("${model_nam}", "${model_nam} refers to an unknown key; did you mean model_name?", "use ${model_name}"),
        ("a/${quux}/b", "${quux} refers to an unknown key", r"\${"),
        ("${train.gpu_ids[9]}", "refers to an unknown key", "train.gpu_ids"),
        ("${train}", "refers to a section", "refer to single keys of train"),
        ("x${train.gpu_ids}", "gives a list or mapping, which cannot be inserted", "refer to a text or number"),
        ("x${wandb.entity}", "gives no value, which cannot be inserted", "refer to a text or number"),
        ("${wandb.name}", "${wandb.name} is circular: wandb.name -> wandb.name", "give wandb.name a value"),
        ("${oc.env:GONE}", "names GONE, which is not set", "set GONE, or write a default after a comma"),
        ("${oc.decode:1}", "uses oc.decode, which is not supported", "write ${KEY} or ${oc.env:NAME}"),
        ("${now:%Y-%m-%d}", "uses now, which is not supported", "write ${KEY}"),
        ("${results_dir", "a text has ${ without a closing brace", "close it"),
        ("${}", "is not a reference to a key", r"\${"),
        ("${a..b}", "is not a reference to a key", r"\${"),
        ("${....a}", "is not a reference to a key", r"\${"),
        ("${encryption_key}", "refers to a secret", "write the value of encryption_key only under its own key"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_its_place(text: str, message: str, fix: str) -> None:
    values = {
        "wandb": {"name": text, "entity": None},
        "model_name": "m",
        "train": {"gpu_ids": [0]},
        "encryption_key": "s",
    }
    error = refusal(values)
    assert error.message.startswith("wandb.name of s.yaml: ")
    assert message in error.message
    assert fix in error.fix
    assert error.path == "wandb.name"


def test_a_circle_is_shown_whole_and_every_problem_is_reported() -> None:
    values = {"train": {"seed": "${x}"}, "x": "${y.z}", "y": {"z": "${train.seed}"}, "model_name": "${gone}"}
    error = refusal(values)
    assert "is circular: train.seed -> x -> y.z -> train.seed" in error.message
    assert "${gone} refers to an unknown key" in error.message


@pytest.mark.parametrize("key", ["encryption_key", "encryption_kye"])
@pytest.mark.parametrize("text", ["${4711", "${4711}", "${a4711:x}", "${oc.env:a4711}", "x${results_dir}${a.a4711}"])
def test_a_secret_with_a_reference_is_not_shown(key: str, text: str) -> None:
    error = refusal({key: text, "results_dir": "r"})
    assert "4711" not in str(error.as_dict())
    assert error.path == key


HOSTILE: dict[str, dict[str, Any]] = {
    "laughs": {"a0": "ha" * 50, **{f"a{i}": f"${{a{i - 1}}}" * 10 for i in range(1, 20)}},
    "lists": {"a0": ["ha"] * 50, **{f"a{i}": [f"${{a{i - 1}}}"] * 10 for i in range(1, 20)}},
    "large": {"a": "x" * 100_000, "b": "${a}" * 20_000},
    "chain": {f"a{i}": f"${{a{i + 1}}}" for i in range(5_000)} | {"a5000": 1},
    "nested": {"a": "${" * 20_000 + "}" * 20_000},
    "open": {"a": "${" * 100_000},
    "slashes": {"a": "\\" * 200_000 + "${b"},
    "braces": {"a": "${x}" + "}" * 100_000},
    "defaults": {"a": "${oc.env:X," * 5_000 + "}" * 5_000},
    "dots": {"a": f"${{{'.' * 100_000}a}}"},
    "names": {"a": f"${{{'a.' * 50_000}}}"},
    "unknown": {f"a{i}": f"${{b{i}}}" for i in range(10_000)},
    "spaces": {"a": f"${{a{' ' * 100_000}:}}"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_references_are_refused_at_once(name: str) -> None:
    assert len(str(refusal(HOSTILE[name]).as_dict())) < 20_000


def test_a_chain_within_the_limit_is_resolved() -> None:
    chain = {f"a{i}": f"${{a{i + 1}}}" for i in range(MAX_DEPTH // 2)}
    assert resolved({**chain, f"a{len(chain)}": 1})["a0"] == 1


def test_results_dir_is_the_jobs_folder_the_files_or_the_commands(tmp_path: Path, data: list[str]) -> None:
    text = "train: {results_dir: '${results_dir}/run1'}\nwandb: {name: '${train.results_dir}'}\n"
    own = planned(tmp_path, text, *data)
    assert own.results_dir == tmp_path / JOB / "run1"
    assert lookup(own.spec, "wandb.name") == f"{tmp_path}/{JOB}/run1"
    assert "results_dir" in own.inferred
    given_one = planned(tmp_path, f"{text}results_dir: {tmp_path}/mine\n", *data)
    assert given_one.results_dir == tmp_path / "mine" / "run1"
    overridden = planned(tmp_path, f"{text}results_dir: {tmp_path}/mine\n", *data, f"results_dir={tmp_path}/other")
    assert overridden.results_dir == tmp_path / "other" / "run1"


def test_files_of_a_training_are_found_by_reference(tmp_path: Path, tiny: Path) -> None:
    """As TAO's own specs are written: one file of all actions, every path from `results_dir`."""
    (tmp_path / "r" / "train").mkdir(parents=True)
    (tmp_path / "r" / "train" / "pc_model_latest.pth").touch()
    text = f"""
results_dir: {tmp_path}/r
dataset: {{num_classes: 6}}
train: {{results_dir: '${{results_dir}}/train'}}
evaluate:
  checkpoint: ${{results_dir}}/train/pc_model_latest.pth
  test_dataset: {{data_path: '{tiny}/val_data.npy', label_path: '{tiny}/val_label.pkl'}}
inference:
  checkpoint: ${{evaluate.checkpoint}}
  test_dataset: {{data_path: '${{evaluate.test_dataset.data_path}}'}}
export:
  checkpoint: ${{train.results_dir}}/pc_model_latest.pth
  results_dir: ${{results_dir}}/exported
  onnx_file: ${{export.results_dir}}/model.onnx
"""
    for action in ("evaluate", "inference", "export"):
        spec = planned(tmp_path, text, action=action).spec
        assert lookup(spec, f"{action}.checkpoint") == f"{tmp_path}/r/train/pc_model_latest.pth"
        assert "${" not in json.dumps(spec)
    assert lookup(spec, "export.onnx_file") == f"{tmp_path}/r/exported/model.onnx"


def test_a_folder_of_a_task_that_is_not_given_is_where_it_will_be(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "r" / "train").mkdir(parents=True)
    (tmp_path / "r" / "train" / "model.pth").touch()
    text = f"results_dir: {tmp_path}/r\nexport: {{checkpoint: '${{train.results_dir}}/model.pth'}}\n"
    spec = planned(tmp_path, text, action="export").spec
    assert lookup(spec, "export.checkpoint") == f"{tmp_path}/r/train/model.pth"


def test_defaults_and_facts_of_the_parent_may_be_referred_to(tmp_path: Path, data: list[str], tiny: Path) -> None:
    spec = planned(tmp_path, "dataset: {batch_size: '${train.num_epochs}'}\n", *data).spec
    assert lookup(spec, "dataset.batch_size") == 10
    store = Store(tmp_path)
    job, _ = open_job(planned(tmp_path, "", *data, "num_classes=7", automl="off"), store, now=NOW)
    leave_checkpoints(Path(job.results_dir), {"val_acc": 0.9})
    store.begin_attempt(job.id, 1)
    store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0))
    text = "evaluate: {batch_size: '${dataset.num_classes}'}\n"
    assert lookup(planned(tmp_path, text, action="evaluate", parent=job.id).spec, "evaluate.batch_size") == 7


def test_overrides_refer_too_and_short_keys_may_be_named(tmp_path: Path, data: list[str]) -> None:
    text = "num_classes: 6\nmodel_name: c${num_classes}\n"
    spec = planned(tmp_path, text, *data, "batch_size=${num_classes}", "wandb.name=${model_name}-x").spec
    assert lookup(spec, "dataset.batch_size") == 6
    assert (lookup(spec, "model_name"), lookup(spec, "wandb.name")) == ("c6", "c6-x")


def test_what_a_reference_gives_is_checked(tmp_path: Path, data: list[str]) -> None:
    with pytest.raises(SpecError, match='train.num_epochs is "pose"; accepted: an integer'):
        planned(tmp_path, "model_name: pose\ntrain: {num_epochs: '${model_name}'}\n", *data)
    with pytest.raises(SpecError, match="dataset.train_dataset.data_path"):
        planned(tmp_path, "dataset: {train_dataset: {data_path: '${model_name}'}}\n", *data[1:])


def test_the_place_of_an_override_is_not_the_file(tmp_path: Path, data: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, "model_name: ${gone}\n", *data, "wandb.name=${gone}")
    of_file, of_command = (problem.message for problem in caught.value.problems)
    messages = {of_file.partition("$")[0], of_command.partition("$")[0]}
    assert messages == {f"model_name of {tmp_path}/s.yaml: ", "wandb.name: "}


def test_a_variable_that_is_secret_by_name_goes_only_where_it_is_hidden(tmp_path: Path, data: list[str]) -> None:
    environment = {"WANDB_API_KEY": "wandb-4711", "MODEL_KEY": "model-4711"}
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, "model_name: a-${oc.env:WANDB_API_KEY}\n", *data, environment=environment)
    assert "would expose WANDB_API_KEY" in caught.value.message
    assert "4711" not in str(caught.value.as_dict())
    found = planned(tmp_path, "encryption_key: ${oc.env:MODEL_KEY}\n", *data, environment=environment)
    assert found.secrets == {"encryption_key": "model-4711"}
    assert "4711" not in json.dumps(found.as_dict())


def test_the_spec_of_a_job_gives_the_same_spec_again(tmp_path: Path, data: list[str]) -> None:
    first = planned(tmp_path, r"model_name: a\${x}\b" + "\nwandb: {name: '${model_name}'}\n", *data, automl="off")
    assert lookup(first.spec, "wandb.name") == r"a${x}\b"
    job, _ = open_job(first, Store(tmp_path), now=NOW)
    again = planned(tmp_path, (tmp_path / job.id / SPEC_FILE).read_text(), automl="off")
    assert again.spec == first.spec


def test_yaml_and_json_files_and_the_command_line_refer_alike(tmp_path: Path, data: list[str]) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"model_name": "${oc.env:HOME}", "wandb.name": "${model_name}/x"}))
    words = ["run", "train", "-e", str(tmp_path / "s.json"), *data, "wandb.group=${wandb.name}", "--dry-run", "--json"]
    done = CliRunner().invoke(tao_skill, words, env={"HOME": "/home/me", "TAO_SKILL_RESULTS": str(tmp_path)})
    spec = json.loads(done.stdout)["plan"]["spec"]
    assert [spec["model_name"], spec["wandb"]["name"], spec["wandb"]["group"]] == ["/home/me", *["/home/me/x"] * 2]


def test_values_without_references_stay_and_nothing_is_looked_up() -> None:
    def unused() -> Mapping[str, Any]:
        raise AssertionError("nothing refers to a value")

    values = load.override(ExperimentConfig, {}, [("model_name", "$x {y}"), ("dataset.label_map", {"${a}": 0})])
    assert resolve(values, Scope(config_type=ExperimentConfig, values=unused)) == values
