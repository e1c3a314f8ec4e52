from __future__ import annotations

from pathlib import Path

import pytest

from tao_skill.errors import BadRequest, NotFound
from tao_skill.models.pose_classification.training.checkpoint_index import (
    BEST,
    LATEST,
    Checkpoint,
    actual,
    best,
    checkpoint_name,
    drop_stale_best,
    latest,
    newest,
    newest_first,
    read_index,
    select,
    write_index,
)


def entry(epoch: int, folder: Path, **metrics: float) -> Checkpoint:
    one = Checkpoint(file=checkpoint_name(epoch, epoch * 7), epoch=epoch, step=epoch * 7, metrics=metrics)
    (folder / one.file).touch()
    return one


def test_the_best_is_by_metric_then_by_validation_loss_then_later(tmp_path: Path) -> None:
    index = [
        entry(0, tmp_path, val_acc=0.9, val_loss=0.5),
        entry(1, tmp_path, val_acc=0.9, val_loss=0.4),
        entry(2, tmp_path, val_acc=0.9, val_loss=0.4),
        entry(3, tmp_path),
    ]
    assert best(index, "val_acc") is index[2]
    assert best(index, "val_loss") is index[2]
    assert best(index[3:], "val_acc") is None


def test_selection_says_which_and_why(tmp_path: Path) -> None:
    write_index(tmp_path, [entry(0, tmp_path, val_acc=0.75), entry(1, tmp_path, val_acc=0.5)])
    chosen = select("train", tmp_path, "val_acc", {})
    assert chosen.path == tmp_path / "model_epoch_000_step_00000.pth"
    assert chosen.reason == "best val_acc 0.7500, epoch 0"


def test_both_spellings_of_tao_are_found_without_an_index(tmp_path: Path) -> None:
    for name in ("model_epoch_003.pth", "model_epoch_010_step_00099.pth", "model_epoch_x.pth"):
        (tmp_path / name).touch()
    assert [one.epoch for one in read_index(tmp_path)] == [3, 10]
    assert select("train", tmp_path, "val_acc", {}).path == tmp_path / "model_epoch_010_step_00099.pth"
    (tmp_path / LATEST).symlink_to("model_epoch_003.pth")
    assert latest(tmp_path) == newest(tmp_path) == (tmp_path / "model_epoch_003.pth").resolve()


def test_training_goes_on_only_where_the_latest_link_is(tmp_path: Path) -> None:
    write_index(tmp_path, [entry(0, tmp_path), entry(1, tmp_path)])
    assert (latest(tmp_path), newest_first(tmp_path)) == (None, [])
    (tmp_path / LATEST).symlink_to("model_epoch_002_step_00014.pth")  # leads nowhere
    assert latest(tmp_path) == tmp_path / "model_epoch_001_step_00007.pth"
    assert [path.name[:15] for path in newest_first(tmp_path)] == ["model_epoch_001", "model_epoch_000"]


def test_a_name_without_the_step_means_the_newest_of_its_epoch(tmp_path: Path) -> None:
    for epoch, step in ((1, 7), (1, 99_999), (1, 100_000), (2, 8)):
        (tmp_path / checkpoint_name(epoch, step)).touch()
    assert actual(tmp_path / "model_epoch_001.pth").name == "model_epoch_001_step_100000.pth"
    assert actual(tmp_path / "model_epoch_002.pth").name == "model_epoch_002_step_00008.pth"
    write_index(tmp_path, [entry(1, tmp_path)])  # the others are an earlier training's
    assert actual(tmp_path / "model_epoch_001.pth").name == "model_epoch_001_step_00007.pth"
    assert actual(tmp_path / "model_epoch_002.pth").name == "model_epoch_002_step_00008.pth"
    for unchanged in ("model_epoch_003.pth", "model_epoch_001_step_00001.pth", "mine.pth", "model_epoch_001.onnx"):
        assert actual(tmp_path / unchanged) == tmp_path / unchanged
    (tmp_path / "model_epoch_001.pth").touch()
    assert actual(tmp_path / "model_epoch_001.pth").name == "model_epoch_001.pth"


def test_files_of_an_earlier_training_are_unknown_to_the_index(tmp_path: Path) -> None:
    entry(7, tmp_path, val_acc=1.0)
    write_index(tmp_path, [entry(0, tmp_path, val_acc=0.5)])
    assert [one.epoch for one in read_index(tmp_path)] == [0]
    for left in (0, 7):
        (tmp_path / BEST).symlink_to(checkpoint_name(left, left * 7))
        drop_stale_best(tmp_path, read_index(tmp_path))
        assert (tmp_path / BEST).is_symlink() == (left == 0)
        (tmp_path / BEST).unlink(missing_ok=True)


def test_files_that_are_gone_are_not_offered(tmp_path: Path) -> None:
    gone = entry(0, tmp_path, val_acc=1.0)
    write_index(tmp_path, [gone, entry(1, tmp_path, val_acc=0.5)])
    (tmp_path / gone.file).unlink()
    assert select("train", tmp_path, "val_acc", {}).path.name == "model_epoch_001_step_00007.pth"


def test_other_actions_give_their_own_file_or_say_what_is_missing(tmp_path: Path) -> None:
    made = {"onnx": tmp_path / "mine.onnx"}
    assert select("export", tmp_path, "val_acc", made).path == tmp_path / "mine.onnx"
    with pytest.raises(NotFound, match="has no engine file"):
        select("gen_trt_engine", tmp_path, "val_acc", {})
    with pytest.raises(NotFound, match="no checkpoint"):
        select("train", tmp_path, "val_acc", {})
    with pytest.raises(BadRequest, match="evaluate produces no model") as refused:
        select("evaluate", tmp_path, "val_acc", {})
    assert refused.value.fix.startswith("give --parent latest:train, or")
