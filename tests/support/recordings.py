"""Recordings with generated people, as DeepStream and Kinetics-skeleton write them; sequences with missing joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tao_skill.models.pose_classification.network.layouts import LAYOUTS

INCOMPLETE = [("ntu-rgb+d", "far"), ("ntu-rgb+d", "near"), ("coco", "far"), ("coco", "confidence")]
"""Layouts and kinds of `incomplete`."""

SHORT = 7


def incomplete(layout: str, kind: str) -> torch.Tensor:
    """Three sequences of two people of whom a third of the joints is missing, the centre in some frames."""
    rng = np.random.default_rng(0)
    skeleton = LAYOUTS[layout]
    x_NCTVM = rng.normal(size=(3, 3, SHORT, skeleton.joints, 2)) * 0.2
    x_NCTVM[:, : skeleton.coordinates] += {"far": 5.0, "confidence": 5.0, "near": 0.0}[kind]
    if kind == "confidence":
        x_NCTVM[:, 2] = rng.uniform(0.1, 1.0, x_NCTVM[:, 2].shape)
    missing_NTVM = rng.random((3, SHORT, skeleton.joints, 2)) < 0.3
    missing_NTVM[0, :3, skeleton.center] = True  # the centre is found after three frames
    missing_NTVM[1, :, skeleton.center, 0] = True  # never found
    x_NCTVM *= ~missing_NTVM[:, None]
    x_NCTVM[2, :, 5:] = 0  # padding
    return torch.from_numpy(x_NCTVM)


def sequence(used: int, frames: int) -> np.ndarray:
    """(3, frames, 4, 1), zero after the used frames."""
    x = np.zeros((3, frames, 4, 1), np.float32)
    x[:, :used] = np.random.default_rng(0).normal(size=(3, used, 4, 1)) + 5
    return x


def pose(rng: np.random.Generator, joints: int = 34) -> list[float]:
    """x, y, z, confidence of each joint; one joint in five has none."""
    values = rng.uniform(-1000.0, 3000.0, (joints, 4)).round(6)
    values[:, 3] = np.where(rng.random(joints) < 0.2, 0.0, rng.uniform(0.1, 1.0, joints).round(6))
    return [float(value) for value in values.ravel()]


def person(object_id: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng([seed, object_id % 2**32])
    return {"object_id": object_id, "pose25d": pose(rng), "pose3d": pose(rng)}


def frame(frame_num: int, *objects: dict[str, Any], batch_id: int = 0) -> dict[str, Any]:
    stamp = 1639431716322229000 + frame_num
    facts = {"batch_id": batch_id, "frame_num": frame_num, "ntp_timestamp": stamp, "num_obj_meta": len(objects)}
    return facts | {"objects": list(objects)}


def batch(*frames: dict[str, Any]) -> dict[str, Any]:
    return {"num_frames_in_batch": len(frames), "batches": list(frames)}


def recording(path: Path, frames: int = 12, ids: tuple[int, ...] = (3, 2**63 + 5)) -> list[dict[str, Any]]:
    """A file as deepstream-bodypose-3d writes it, with everybody in every frame."""
    found = [batch(frame(number, *(person(one, number) for one in ids))) for number in range(frames)]
    path.write_text(json.dumps(found))
    return found


def clip(seed: int, class_id: int, frames: int = 8) -> dict[str, Any]:
    """A Kinetics-skeleton clip of one person."""
    rng = np.random.default_rng(seed)
    return {
        "data": [
            {"frame_index": t, "skeleton": [{"pose": rng.random(36).tolist(), "score": [0.5] * 18}]}
            for t in range(1, frames)
        ],
        "label": ["run", "walk"][class_id],
        "label_index": class_id,
    }
