from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tao_skill import bank
from tao_skill.errors import NotFound
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.models.pose_classification.recipes import (
    BATCH,
    EPOCHS,
    FRAMES,
    LR,
    MOST_EPOCHS,
    OPTIMIZER,
    SAMPLED,
    SMALL,
    WARM_UP_STEPS,
    DataFacts,
    PoseRecipe,
    data_facts,
    fitting,
    scaled,
)
from tests.support.experiments import FRAMES as SAMPLE_FRAMES
from tests.support.experiments import experiment

RECIPE = PoseRecipe(
    name="one",
    spec={"model.align_view": True, "model.center": "true", BATCH: 16, OPTIMIZER: "torch.optim.AdamW", LR: 0.002},
    shown=3000,
    frames=36,
    planar={"model.align_view": False, "dataset.random_rotate": 0.0},
    several_persons={"model.center": "group"},
)
FACTS = DataFacts(sequences=100, frames=100, persons=1, planar=False)


def values(**facts: Any) -> dict[str, Any]:
    return RECIPE.values(replace(FACTS, **facts))


class TestValues:
    @pytest.mark.parametrize(
        ("sequences", "batch", "epochs"),
        [
            (2, 2, MOST_EPOCHS),  # 1500 epochs would learn two sequences by heart
            (16, 16, MOST_EPOCHS),
            (100, 16, 27),  # 7 batches of an epoch, 188 in all
            (400, 16, 15),  # twice as many
            (10_000, 16, 3),
            (1_000_000, 16, 1),
        ],
    )
    def test_small_sets_are_shown_often_and_large_ones_less(self, sequences: int, batch: int, epochs: int) -> None:
        found = values(sequences=sequences)
        assert (found[BATCH], found[EPOCHS]) == (batch, epochs)

    @given(sequences=st.integers(1, 10**6), batch=st.integers(1, 512), shown=st.integers(1, 10**6))
    def test_a_training_shows_at_least_the_sequences_of_the_recipe_unless_it_is_too_long(
        self, sequences: int, batch: int, shown: int
    ) -> None:
        recipe = PoseRecipe(name="any", spec={BATCH: batch}, shown=shown)
        found = recipe.values(replace(FACTS, sequences=sequences))
        assert 1 <= found[EPOCHS] <= MOST_EPOCHS
        assert 1 <= found[BATCH] <= sequences
        wanted = shown * math.sqrt(max(1.0, sequences / SMALL))
        batches = math.ceil(sequences / found[BATCH])
        assert found[EPOCHS] == MOST_EPOCHS or found[EPOCHS] * batches * found[BATCH] >= wanted
        assert found[EPOCHS] == 1 or (found[EPOCHS] - 1) * batches * found[BATCH] < wanted

    @pytest.mark.parametrize(("frames", "resampled"), [(100, 36), (36, 36), (20, 20), (3, 8)])
    def test_frames_are_resampled_to_those_of_the_recipe_or_of_short_data(self, frames: int, resampled: int) -> None:
        assert values(frames=frames)[FRAMES] == resampled

    def test_a_recipe_without_frames_keeps_them(self) -> None:
        assert FRAMES not in replace(RECIPE, frames=None).values(FACTS)

    def test_planar_data_and_several_persons_have_values_of_their_own(self) -> None:
        assert values()["model.align_view"] is True
        assert values()["model.center"] == "true"
        planar = values(planar=True)
        assert (planar["model.align_view"], planar["dataset.random_rotate"]) == (False, 0.0)
        assert values(persons=2)["model.center"] == "group"

    def test_the_recipe_itself_stays_as_it_is(self) -> None:
        before = dict(RECIPE.spec)
        values(planar=True, persons=2, sequences=1)
        assert RECIPE.spec == before


class TestFacts:
    def test_they_are_those_of_the_training_data(self, tiny: Path, tmp_path: Path) -> None:
        """Frames that are zero for all joints are padding."""
        has_values_NT = np.load(tiny / "train_data.npy").any(axis=(1, 3, 4))
        lengths_N = has_values_NT.shape[1] - has_values_NT[:, ::-1].argmax(axis=1)
        assert data_facts(experiment(tiny, tmp_path)) == DataFacts(
            sequences=12, frames=round(np.median(lengths_N)), persons=1, planar=False
        )

    def test_held_out_sequences_do_not_count(self, tiny: Path, tmp_path: Path) -> None:
        config = experiment(tiny, tmp_path, dataset__val_dataset__data_path=None, dataset__validation_split=0.5)
        facts = data_facts(config)
        assert facts is not None
        assert facts.sequences == 6

    def test_more_padding_changes_nothing(self, tiny: Path, tmp_path: Path) -> None:
        data_NCTVM = np.load(tiny / "train_data.npy")
        np.save(tmp_path / "padded.npy", np.concatenate([data_NCTVM, np.zeros_like(data_NCTVM)], axis=2))
        config = experiment(tiny, tmp_path)
        padded = experiment(tiny, tmp_path, dataset__train_dataset__data_path=str(tmp_path / "padded.npy"))
        assert data_facts(padded) == data_facts(config)

    def test_the_frames_of_a_large_set_are_those_of_a_sample_of_all_of_it(self, tiny: Path, tmp_path: Path) -> None:
        data_NCTVM = np.ones((4 * SAMPLED, 3, 12, 5, 2), dtype=np.float16)
        data_NCTVM[: 3 * SAMPLED, :, 4:] = 0
        np.save(tmp_path / "large.npy", data_NCTVM)
        facts = data_facts(experiment(tiny, tmp_path, dataset__train_dataset__data_path=str(tmp_path / "large.npy")))
        assert facts == DataFacts(sequences=4 * SAMPLED, frames=4, persons=2, planar=False)

    @pytest.mark.parametrize(("layout", "planar"), [("nvidia", False), ("coco", True), ("ntu-rgb+d", False)])
    def test_a_layout_without_depth_is_planar(self, layout: str, planar: bool, tiny: Path, tmp_path: Path) -> None:
        facts = data_facts(experiment(tiny, tmp_path, model__graph_layout=layout))
        assert facts is not None
        assert facts.planar is planar

    @pytest.mark.parametrize("key", ["data_path", "label_path"])
    def test_remote_data_have_none(self, key: str, tiny: Path, tmp_path: Path) -> None:
        config = experiment(tiny, tmp_path, **{f"dataset__train_dataset__{key}": "s3://bucket/file"})
        assert data_facts(config) is None
        assert MODEL.recipes(config, frozenset()) == []

    def test_missing_data_are_named(self, tiny: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"gone\.npy"):
            data_facts(experiment(tiny, tmp_path, dataset__train_dataset__data_path=str(tmp_path / "gone.npy")))


class TestFitting:
    def fitted(self, config: ExperimentConfig, *fixed: str) -> dict[str, Any]:
        return fitting(RECIPE, config, FACTS, fixed)

    def test_without_fixed_keys_all_values_are_taken(self, tiny: Path, tmp_path: Path) -> None:
        assert self.fitted(experiment(tiny, tmp_path)) == RECIPE.values(FACTS)

    def test_fixed_keys_are_left_out(self, tiny: Path, tmp_path: Path) -> None:
        found = self.fitted(experiment(tiny, tmp_path), BATCH, EPOCHS, "model.dropout")
        assert set(RECIPE.values(FACTS)) - set(found) == {BATCH, EPOCHS}

    def test_another_fixed_optimizer_leaves_all_of_the_optimizer_out(self, tiny: Path, tmp_path: Path) -> None:
        found = self.fitted(experiment(tiny, tmp_path), OPTIMIZER)
        assert set(RECIPE.values(FACTS)) - set(found) == {OPTIMIZER, LR}

    def test_the_same_fixed_optimizer_keeps_its_values(self, tiny: Path, tmp_path: Path) -> None:
        config = experiment(tiny, tmp_path, train__optim__optimizer_type="torch.optim.AdamW")
        assert self.fitted(config, OPTIMIZER)[LR] == 0.002

    @pytest.mark.parametrize(
        ("changes", "may_align"),
        [({}, True), ({"model__input_channels": 2}, False), ({"model__graph_layout": "coco"}, False)],
    )
    def test_a_skeleton_without_a_view_is_not_aligned(
        self, changes: dict[str, Any], may_align: bool, tiny: Path, tmp_path: Path
    ) -> None:
        assert ("model.align_view" in self.fitted(experiment(tiny, tmp_path, **changes))) is may_align


class TestPackagedRecipes:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A bank of its own."""
        for name in ("schemas", "references", "runners", "skills"):
            shutil.copytree(bank.root() / name, tmp_path / "bank" / name, ignore=shutil.ignore_patterns("*.md"))
        (tmp_path / "bank" / "references" / "pose_classification" / "recipes.yaml").unlink(missing_ok=True)
        monkeypatch.setenv(bank.VARIABLE, str(tmp_path / "bank"))
        return tmp_path / "bank" / "references" / "pose_classification"

    def test_a_model_without_the_file_has_none(self, folder: Path, tiny: Path, tmp_path: Path) -> None:
        assert bank.recipes("pose_classification") == []
        assert MODEL.recipes(experiment(tiny, tmp_path), frozenset()) == []

    def test_they_are_read_in_order_and_provenance_is_passed_over(
        self, folder: Path, tiny: Path, tmp_path: Path
    ) -> None:
        written = [
            {"name": "b", "spec": {BATCH: 4, LR: 0.01}, "shown": 24, "frames": 36, "regret": 0.4, "sets": ["x"]},
            {"name": "a", "spec": {BATCH: 64}, "shown": 1},
        ]
        (folder / "recipes.yaml").write_text(yaml.safe_dump({"recipes": written, "seeds": 3}))
        found = MODEL.recipes(experiment(tiny, tmp_path), {LR})
        assert [(one.name, dict(one.values)) for one in found] == [
            ("b", {BATCH: 4, FRAMES: SAMPLE_FRAMES, EPOCHS: 2}),
            ("a", {BATCH: 12, EPOCHS: 1}),
        ]

    def test_a_damaged_file_is_named(self, folder: Path) -> None:
        (folder / "recipes.yaml").write_text("- a list")
        with pytest.raises(NotFound, match=r"recipes\.yaml cannot be used: it is not a mapping"):
            bank.recipes("pose_classification")

    def test_every_packaged_recipe_is_a_spec_of_the_schema(self, tiny: Path, tmp_path: Path) -> None:
        from tao_skill.spec import load

        config = experiment(tiny, tmp_path)
        for one in MODEL.recipes(config, frozenset()):
            pairs = [
                ("dataset.train_dataset.data_path", "x"),
                ("dataset.train_dataset.label_path", "y"),
                *one.values.items(),
            ]
            load.check(MODEL.config, "train", load.override(MODEL.config, {}, pairs))


class TestWarmUp:
    @pytest.mark.parametrize(
        ("changes", "epochs"),
        [
            ({"dataset__batch_size": 1}, 6),
            ({"dataset__batch_size": 12}, WARM_UP_STEPS),
            ({"dataset__batch_size": 1, "train__optim__accumulate_batches": 4}, 22),
            ({"dataset__batch_size": 1, "dataset__train_dataset__data_path": "s3://bucket/file"}, 0),
            ({"dataset__batch_size": 1, "dataset__train_dataset__label_path": "s3://bucket/file"}, 0),
        ],
    )
    def test_it_has_the_first_optimizer_steps(
        self, changes: dict[str, Any], epochs: int, tiny: Path, tmp_path: Path
    ) -> None:
        assert MODEL.warm_up_epochs(experiment(tiny, tmp_path, **changes)) == epochs


class TestScaledRate:
    @pytest.mark.parametrize(("before", "after", "rate"), [(16, 64, 0.2), (64, 16, 0.05), (16, 32, 0.1414)])
    def test_it_grows_with_the_square_root_of_the_batch_size(
        self, before: int, after: int, rate: float, tiny: Path, tmp_path: Path
    ) -> None:
        base, config = (
            experiment(tiny, tmp_path, dataset__batch_size=size, train__optim__lr=0.1) for size in (before, after)
        )
        assert scaled(config, base) == {LR: rate}

    def test_a_rate_that_was_changed_too_and_the_same_batch_size_are_left_alone(
        self, tiny: Path, tmp_path: Path
    ) -> None:
        base = experiment(tiny, tmp_path, dataset__batch_size=16, train__optim__lr=0.1)
        changed = experiment(tiny, tmp_path, dataset__batch_size=64, train__optim__lr=0.3)
        assert scaled(base, base) == scaled(changed, base) == {}
