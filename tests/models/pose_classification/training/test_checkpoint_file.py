from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file


def test_a_secret_key_encrypts_and_only_that_key_opens(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    checkpoint_file.save({"state_dict": {"model.x": torch.ones(3)}, "note": "plain-marker"}, path, "s3cret")
    assert b"plain-marker" not in path.read_bytes()
    assert torch.equal(checkpoint_file.load(path, "s3cret")["state_dict"]["model.x"], torch.ones(3))
    for wrong, said in (("other", "wrong"), (None, "not set"), ("", "not set")):
        with pytest.raises(BadData, match=said) as caught:
            checkpoint_file.load(path, wrong)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", [None, "", "tlt_encode", "nvidia_tlt", "nvidia_tao"])
def test_without_a_secret_key_the_file_is_plain(tmp_path: Path, key: str | None) -> None:
    checkpoint_file.save({"a": 1}, tmp_path / "c.pth", key)
    assert torch.load(tmp_path / "c.pth", weights_only=True) == {"a": 1}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch " + str(Evil.marker),)

    marker: Path


def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    Evil.marker = tmp_path / "ran"
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BadData, match=r"evil\.pth"):
        checkpoint_file.load(tmp_path / "evil.pth")
    assert not Evil.marker.exists()


def test_broken_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    checkpoint_file.save({"state_dict": {}}, good)
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:-50])
    (tmp_path / "text.pth").write_text("no checkpoint")
    checkpoint_file.save({"state_dict": {}, "state_dict_encrypted": True}, tmp_path / "tao.pth")
    for name, said in (("cut", "is damaged"), ("text", "is damaged"), ("tao", "by TAO"), ("no", "not exist")):
        with pytest.raises(BadData, match=said):
            checkpoint_file.load(tmp_path / f"{name}.pth")


def test_another_layout_is_refused_with_both_sides_said(tmp_path: Path) -> None:
    checkpoint_file.save(STGCN(layout=LAYOUTS["coco"]).state_dict(), tmp_path / "c.pth")
    with pytest.raises(BadData, match=r"A is \(3, 17, 17\), the spec makes \(3, 34, 34\)"):
        checkpoint_file.load_network(STGCN(), tmp_path / "c.pth")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    checkpoint_file.save({"a": 1}, path)
    with pytest.raises(AttributeError, match="pickle"):
        checkpoint_file.save({"a": lambda: None}, path)
    assert checkpoint_file.load(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pth"]
