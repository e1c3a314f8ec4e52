"""Skeleton-action classification with ST-GCN, compatible with NVIDIA TAO's PoseClassificationNet."""

from __future__ import annotations

from typing import Final

from tao_skill.model import Action, Model

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
                entry=f"{_HERE}.actions.dataset_convert:run",
                next=("inference",),
                feeds={"combined_sequences": "inference.test_dataset.data_path"},
            ),
            Action(
                name="train",
                summary="Train ST-GCN on labelled sequences.",
                entry=f"{_HERE}.actions.train:run",
                makes_model=True,
                next=("evaluate", "inference", "export"),
                processes=f"{_HERE}.training.devices:train_processes",
            ),
            Action(
                name="evaluate",
                summary="Score a trained model on a labelled test set.",
                entry=f"{_HERE}.actions.evaluate:run",
                next=("inference", "export"),
            ),
            Action(
                name="inference",
                summary="Name the action of each sequence.",
                entry=f"{_HERE}.actions.inference:run",
            ),
            Action(
                name="export",
                summary="Write a trained model as ONNX.",
                entry=f"{_HERE}.actions.export:run",
                makes_model=True,
                next=("gen_trt_engine", "evaluate", "inference"),
            ),
            Action(
                name="gen_trt_engine",
                summary="Build a TensorRT engine from ONNX.",
                entry=f"{_HERE}.actions.gen_trt_engine:run",
                makes_model=True,
                next=("evaluate", "inference"),
            ),
        )
    },
    check=f"{_HERE}.checks.check:check",
    select=f"{_HERE}.training.checkpoint_index:select",
    latest=f"{_HERE}.training.checkpoint_index:latest",
    actual=f"{_HERE}.training.checkpoint_index:actual",
    classes=f"{_HERE}.data.label_map:of_training_data",
    sample=f"{_HERE}.data.sample.sample:write_sample",
    advance=f"{_HERE}.actions.train:advance",
    effort=f"{_HERE}.network.architecture:epoch_flop",
    limits=f"{_HERE}.checks.search_limits:limits",
    inspect=f"{_HERE}.data.inspect:inspect",
    importer=f"{_HERE}.data.imports.dataset:import_data",
)
