"""Skeleton-action classification with ST-GCN, compatible with NVIDIA TAO's PoseClassificationNet."""

from __future__ import annotations

from typing import Final

from tao_skill.action import Action, Model

_HERE: Final = __name__

MODEL: Final = Model(
    name="pose_classification",
    skill="tao-train-pose-classification",
    parameters=f"{_HERE}.config:ExperimentConfig",
    actions={
        action.name: action
        for action in (
            Action(
                name="dataset_convert",
                summary="Turn DeepStream bodypose-3d JSON into sequences.",
                entry=f"{_HERE}.dataset_convert:run",
                next=("inference",),
                feeds={"combined_sequences": "inference.test_dataset.data_path"},
            ),
            Action(
                name="train",
                summary="Train ST-GCN on labelled sequences.",
                entry=f"{_HERE}.train:run",
                makes_model=True,
                next=("evaluate", "inference", "export"),
                processes=f"{_HERE}.devices:train_processes",
            ),
            Action(
                name="evaluate",
                summary="Score a trained model on a labelled test set.",
                entry=f"{_HERE}.evaluate:run",
                next=("inference", "export"),
            ),
            Action(
                name="inference",
                summary="Name the action of each sequence.",
                entry=f"{_HERE}.inference:run",
            ),
            Action(
                name="export",
                summary="Write a trained model as ONNX.",
                entry=f"{_HERE}.export:run",
                makes_model=True,
                next=("gen_trt_engine", "evaluate", "inference"),
            ),
            Action(
                name="gen_trt_engine",
                summary="Build a TensorRT engine from ONNX.",
                entry=f"{_HERE}.gen_trt_engine:run",
                makes_model=True,
                next=("evaluate", "inference"),
            ),
        )
    },
    check=f"{_HERE}.check:check",
    select=f"{_HERE}.results:select",
    latest=f"{_HERE}.results:latest",
    actual=f"{_HERE}.results:actual",
    classes=f"{_HERE}.label_map:of_training_data",
    sample=f"{_HERE}.sample:write_sample",
    advance=f"{_HERE}.train:advance",
    effort=f"{_HERE}.architecture:epoch_flop",
    limits=f"{_HERE}.limits:limits",
    inspect=f"{_HERE}.inspect:inspect",
    importer=f"{_HERE}.imports.dataset:import_data",
)
