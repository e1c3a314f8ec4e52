"""Every parameter of pose classification: the only home of defaults, ranges, choices and AutoML hints.

Keys and defaults are those of NVIDIA TAO's PoseClassificationNet (TAO Toolkit documentation, "PoseClassificationNet").
"""

# No `from __future__ import annotations`: every annotation is evaluated, and would be compiled from a string first.
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

from tao_skill.models.pose_classification.network.layouts import LAYOUTS, SUFFIXES
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.spec.param import REQUIRED, Param

TRAIN: Final = ("train",)
CENTERS: Final = ("false", "true", "group")
"""Values of `model.center`: absolute positions, relative to each person's centre, to that of the first person."""

STREAMS: Final = ("joint", "bone", "joint_motion", "bone_motion")
"""Values of `model.streams`."""

ON_DATA: Final = ("train", "evaluate", "inference")
ON_MODEL: Final = ("train", "evaluate", "inference", "export")


@dataclass(frozen=True, kw_only=True)
class Wandb:
    enable: Annotated[bool, Param("Send metrics to Weights & Biases (needs the wandb extra).")] = False
    project: Annotated[str | None, Param("W&B project.")] = None
    entity: Annotated[str | None, Param("W&B user or team.")] = None
    group: Annotated[str | None, Param("W&B group of the run.")] = None
    tags: Annotated[list[str], Param("W&B tags of the run.")] = field(default_factory=list)
    name: Annotated[str | None, Param("W&B run name; default: model_name.")] = None
    run_id: Annotated[str | None, Param("W&B run id; an existing id resumes that run.")] = None
    reinit: Annotated[bool, Param("Start a new W&B run even if one is active in the process.")] = False
    sync_tensorboard: Annotated[bool, Param("Copy TensorBoard events to W&B.")] = False
    save_code: Annotated[bool, Param("Store the main script with the W&B run.")] = False


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    model_type: Annotated[
        str,
        Param(
            "Network architecture; ST-GCN++ (arXiv 2205.09443) and DG-STGCN (arXiv 2210.05895) are smaller, often more "
            "accurate, but not part of TAO.",
            choices=tuple(NETWORKS),
            inherit=True,
            popular=True,
            structural=True,
            own_choices=("ST-GCN++", "DG-STGCN"),
        ),
    ] = "ST-GCN"
    pretrained_model_path: Annotated[
        str | None, Param("Weights to start training from.", only=TRAIN, reads_file=True, checkpoint=True)
    ] = None
    input_channels: Annotated[
        int, Param("Channels of the data: 3 for x, y, z or for x, y, confidence.", above=0, inherit=True)
    ] = 3
    dropout: Annotated[
        float,
        Param(
            "Dropout probability of every block.",
            minimum=0.0,
            maximum=1.0,
            only=TRAIN,
            popular=True,
            low=0.0,
            high=0.8,
            tune=True,
        ),
    ] = 0.5
    graph_layout: Annotated[
        str,
        Param(
            "Skeleton layout of the data: a name, or a layout file that describes any skeleton.",
            choices=tuple(LAYOUTS),
            file_suffixes=SUFFIXES,
            reads_file=True,
            inherit=True,
            popular=True,
        ),
    ] = "nvidia"
    graph_strategy: Annotated[
        str,
        Param(
            'Partition of a joint\'s neighbours (ST-GCN paper, "Partition Strategies"); no effect on DG-STGCN with '
            "edge_importance_weighting.",
            choices=("uniform", "distance", "spatial"),
            inherit=True,
            searchable=True,
            weights=(1.0, 1.0, 2.0),
        ),
    ] = "spatial"
    center: Annotated[
        str,
        Param(
            "Positions relative to each person's centre joint in every frame (true), or to that of the first person "
            "(group), which keeps where people stand.",
            choices=CENTERS,
            inherit=True,
            searchable=True,
            popular=True,
            structural=True,
            own=True,
        ),
    ] = "false"
    align_view: Annotated[
        bool,
        Param(
            "Rotate each person upright and to the front, by the hips and shoulders of the first frame with all four; "
            "needs x, y, z.",
            inherit=True,
            searchable=True,
            own=True,
        ),
    ] = False
    normalize_scale: Annotated[
        bool, Param("Positions in units of each person's mean bone length.", inherit=True, searchable=True, own=True)
    ] = False
    streams: Annotated[
        list[str],
        Param(
            "What networks get: positions, bones (joint minus parent), or the motion of either from frame to frame; "
            "several have a network each, trained together, and their class probabilities are averaged.",
            choices=STREAMS,
            inherit=True,
            popular=True,
            own=True,
        ),
    ] = field(default_factory=lambda: ["joint"])
    stream_weights: Annotated[
        list[float],
        Param("Weight of each of several streams in the average; default: equal.", above=0.0, inherit=True, own=True),
    ] = field(default_factory=list)
    edge_importance_weighting: Annotated[
        bool,
        Param(
            "Learn a weight for each edge in each block; in ST-GCN++, also learn the edges; in DG-STGCN, learn all "
            "edges from scratch (false: use the subsets of graph_strategy).",
            inherit=True,
            searchable=True,
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    data_path: Annotated[str, Param("Sequences, .npy of shape (N, C, T, V, M).", reads_file=True, popular=True)] = (
        REQUIRED
    )
    label_path: Annotated[str, Param("Labels, .pkl of [[names], [class ids]].", reads_file=True, popular=True)] = (
        REQUIRED
    )


@dataclass(frozen=True, kw_only=True)
class OptionalData:
    data_path: Annotated[
        str | None, Param("Sequences, .npy of shape (N, C, T, V, M).", reads_file=True, popular=True)
    ] = None
    label_path: Annotated[str | None, Param("Labels, .pkl of [[names], [class ids]].", reads_file=True)] = None


@dataclass(frozen=True, kw_only=True)
class UnlabelledData:
    data_path: Annotated[str, Param("Sequences, .npy of shape (N, C, T, V, M).", reads_file=True, popular=True)] = (
        REQUIRED
    )
    label_path: Annotated[str | None, Param("Labels, if known, to score the predictions.", reads_file=True)] = None


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    train_dataset: Annotated[LabelledData, Param("Training set.", only=TRAIN)] = field(default_factory=LabelledData)
    val_dataset: Annotated[
        OptionalData, Param("Validation set; without it and without validation_split, no validation runs.", only=TRAIN)
    ] = field(default_factory=OptionalData)
    validation_split: Annotated[
        float | None,
        Param(
            "Share of each class's training sequences to hold out for validation when val_dataset is not set, "
            "drawn with train.seed; a search uses 0.2 by default.",
            above=0.0,
            maximum=0.5,
            only=TRAIN,
            own=True,
        ),
    ] = None
    num_classes: Annotated[int, Param("Number of classes.", minimum=1, inherit=True, popular=True)] = 6
    label_map: Annotated[dict[str, int] | None, Param("Class id of each class name.", inherit=True, popular=True)] = (
        None
    )
    random_choose: Annotated[
        bool, Param("Train on a random fragment of window_size frames.", only=TRAIN, searchable=True)
    ] = False
    random_move: Annotated[
        bool, Param("Train on randomly rotated, scaled and shifted skeletons.", only=TRAIN, searchable=True)
    ] = False
    window_size: Annotated[
        int,
        Param(
            "Frames per training sequence: pads shorter sequences; random_choose cuts longer ones; -1 keeps all.",
            minimum=-1,
            reject=(0,),
            only=TRAIN,
            low=16,
            high=300,
            tune=True,
            depends_on=("dataset.random_choose", True),
        ),
    ] = -1
    random_rotate: Annotated[
        float,
        Param(
            "Largest random rotation about y in degrees, a third of it about x and z; needs x, y, z.",
            minimum=0.0,
            maximum=180.0,
            only=TRAIN,
            low=0.0,
            high=45.0,
            structural=True,
            own=True,
        ),
    ] = 0.0
    random_scale: Annotated[
        float,
        Param(
            "Largest random scaling of each axis, as a share: 0.1 scales by 0.9 to 1.1; needs x, y, z.",
            minimum=0.0,
            maximum=0.5,
            only=TRAIN,
            low=0.0,
            high=0.3,
            structural=True,
            own=True,
        ),
    ] = 0.0
    random_flip: Annotated[
        bool,
        Param(
            "Mirror half of the training sequences: x and the left and right joints of model.graph_layout; "
            "classes that name a side need flip_labels.",
            only=TRAIN,
            own=True,
        ),
    ] = False
    flip_labels: Annotated[
        dict[str, str] | None,
        Param(
            "Class of a mirrored sequence, by class name, in both directions; a class without a side maps to itself.",
            only=TRAIN,
            depends_on=("dataset.random_flip", True),
            own=True,
        ),
    ] = None
    temporal_crop: Annotated[
        float,
        Param(
            "Smallest share of a sequence's frames in a random temporal crop; 1 keeps all frames.",
            above=0.0,
            maximum=1.0,
            only=TRAIN,
            low=0.5,
            high=1.0,
            structural=True,
            own=True,
        ),
    ] = 1.0
    resample_frames: Annotated[
        int | None,
        Param(
            "Number of frames to resample every sequence to, without its padding: faster, and often more accurate.",
            minimum=8,
            only=ON_MODEL,
            inherit=True,
            popular=True,
            structural=True,
            low=16,
            high=96,
            log=True,
            own=True,
        ),
    ] = None
    random_time_warp: Annotated[
        float,
        Param(
            "Largest relative change of speed within a sequence by a smooth random warp of time; 0 turns it off.",
            minimum=0.0,
            maximum=0.9,
            only=TRAIN,
            low=0.0,
            high=0.5,
            own=True,
        ),
    ] = 0.0
    random_shear: Annotated[
        float,
        Param(
            "Largest random shear: each coordinate gets up to this share of each other one; 0 turns it off.",
            minimum=0.0,
            maximum=0.5,
            only=TRAIN,
            low=0.0,
            high=0.5,
            own=True,
        ),
    ] = 0.0
    joint_dropout: Annotated[
        float,
        Param(
            "Share of a person's joints, never the centre joint, set to missing in a whole training sequence.",
            minimum=0.0,
            maximum=0.9,
            only=TRAIN,
            low=0.0,
            high=0.3,
            own=True,
        ),
    ] = 0.0
    mixup: Annotated[
        float,
        Param(
            "Alpha of the Beta distribution from which mixup draws its shares: trains on averages of two sequences "
            "and of their classes; 0 turns it off.",
            minimum=0.0,
            maximum=10.0,
            only=TRAIN,
            low=0.0,
            high=1.0,
            own=True,
        ),
    ] = 0.0
    class_weights: Annotated[
        str,
        Param(
            "Weights of classes in the training loss: balanced weighs inversely to their training sequences.",
            choices=("none", "balanced"),
            only=TRAIN,
            searchable=True,
            own=True,
        ),
    ] = "none"
    batch_size: Annotated[
        int,
        Param(
            "Sequences in a batch.", minimum=1, only=ON_DATA, popular=True, low=4, high=128, log=True, structural=True
        ),
    ] = 64
    num_workers: Annotated[int, Param("Worker processes that load data.", minimum=0, only=ON_DATA)] = 1


@dataclass(frozen=True, kw_only=True)
class Cudnn:
    benchmark: Annotated[bool, Param("Let cuDNN benchmark its algorithms and use the fastest.")] = False
    deterministic: Annotated[bool, Param("Use deterministic algorithms where available.")] = True


@dataclass(frozen=True, kw_only=True)
class Optim:
    optimizer_type: Annotated[
        str,
        Param(
            "Optimizer; AdamW decouples the weight decay from the gradient (arXiv 1711.05101) and is not part of TAO.",
            choices=("torch.optim.SGD", "torch.optim.Adam", "torch.optim.Adamax", "torch.optim.AdamW"),
            searchable=True,
            weights=(2.0, 1.0, 1.0, 1.0),
            own_choices=("torch.optim.AdamW",),
        ),
    ] = "torch.optim.SGD"
    lr: Annotated[
        float, Param("Initial learning rate.", above=0.0, popular=True, low=1e-4, high=1.0, log=True, tune=True)
    ] = 0.1
    momentum: Annotated[
        float,
        Param(
            "Momentum of SGD.",
            minimum=0.0,
            maximum=1.0,
            low=0.5,
            high=0.99,
            tune=True,
            depends_on=("train.optim.optimizer_type", "torch.optim.SGD"),
        ),
    ] = 0.9
    nesterov: Annotated[
        bool,
        Param(
            "Nesterov momentum (needs momentum above 0).",
            searchable=True,
            depends_on=("train.optim.optimizer_type", "torch.optim.SGD"),
        ),
    ] = True
    weight_decay: Annotated[
        float,
        Param(
            "L2 penalty on the weights; decoupled weight decay in AdamW.",
            minimum=0.0,
            low=1e-6,
            high=0.1,
            log=True,
            tune=True,
        ),
    ] = 1e-4
    lr_scheduler: Annotated[
        str,
        Param(
            "Schedule: MultiStep decays at lr_steps, AutoReduce when lr_monitor stagnates, Cosine over num_epochs.",
            choices=("MultiStep", "AutoReduce", "Cosine"),
            searchable=True,
            own_choices=("Cosine",),
        ),
    ] = "MultiStep"
    lr_monitor: Annotated[
        str,
        Param(
            "Loss that AutoReduce monitors.",
            choices=("val_loss", "train_loss"),
            depends_on=("train.optim.lr_scheduler", "AutoReduce"),
        ),
    ] = "val_loss"
    patience: Annotated[
        int,
        Param(
            "Epochs without an improvement of more than 0.1 % before AutoReduce lowers the learning rate.",
            minimum=0,
            low=1,
            high=10,
            tune=True,
            depends_on=("train.optim.lr_scheduler", "AutoReduce"),
        ),
    ] = 1
    min_lr: Annotated[
        float,
        Param(
            "Lower bound of the learning rate for AutoReduce.",
            minimum=0.0,
            low=1e-6,
            high=1e-3,
            log=True,
            condition="< train.optim.lr",
            depends_on=("train.optim.lr_scheduler", "AutoReduce"),
            parent="train.optim.lr",
        ),
    ] = 1e-4
    lr_steps: Annotated[
        list[int],
        Param(
            "Epochs after which MultiStep decays the learning rate.",
            minimum=1,
            depends_on=("train.optim.lr_scheduler", "MultiStep"),
        ),
    ] = field(default_factory=lambda: [10, 60])
    lr_decay: Annotated[
        float,
        Param(
            "Factor by which each decay multiplies the learning rate.",
            above=0.0,
            maximum=1.0,
            low=0.03,
            high=0.9,
            log=True,
            tune=True,
        ),
    ] = 0.1
    warmup_epochs: Annotated[
        int,
        Param(
            "Epochs in which the learning rate rises linearly to lr, step by step (arXiv 1706.02677).",
            minimum=0,
            own=True,
        ),
    ] = 0
    label_smoothing: Annotated[
        float,
        Param(
            "Share of the target spread evenly over all classes, in the training loss only (arXiv 1512.00567).",
            minimum=0.0,
            maximum=1.0,
            reject=(1.0,),
            own=True,
        ),
    ] = 0.0
    ema_decay: Annotated[
        float,
        Param(
            "Decay per step of an exponential moving average of the weights, which is validated and saved in their "
            "place (arXiv 1703.01780), e.g. 0.999; 0 turns it off.",
            minimum=0.0,
            maximum=1.0,
            reject=(1.0,),
            own=True,
        ),
    ] = 0.0
    accumulate_batches: Annotated[
        int,
        Param(
            "Batches whose gradients are accumulated for one optimizer step, as one batch of all their sequences.",
            minimum=1,
            own=True,
        ),
    ] = 1


NUM_GPUS: Final = ("-g", "--gpus", "--num_gpus")
GPU_IDS: Final = ("--gpu_ids", "--gpu_index")


@dataclass(frozen=True, kw_only=True)
class Gpus:
    num_gpus: Annotated[
        int,
        Param(
            "GPUs per node; the larger of num_gpus and the length of gpu_ids is used.", minimum=1, tao_flags=NUM_GPUS
        ),
    ] = 1
    gpu_ids: Annotated[list[int], Param("GPU indices.", minimum=0, tao_flags=GPU_IDS)] = field(
        default_factory=lambda: [0]
    )
    num_nodes: Annotated[
        int,
        Param(
            "Number of nodes (machines); more than one needs a launcher such as torchrun.",
            minimum=1,
            tao_flags=("--num_nodes",),
        ),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class OnTestSet(Gpus):
    checkpoint: Annotated[
        str,
        Param(
            "Trained model: a checkpoint, an ONNX file or an engine.", reads_file=True, checkpoint=True, popular=True
        ),
    ] = REQUIRED
    batch_size: Annotated[int, Param("Sequences in a batch; -1 uses dataset.batch_size.", minimum=-1, reject=(0,))] = -1
    num_clips: Annotated[
        int,
        Param(
            "Temporal crops of each sequence, 90 % of its frames each, whose class probabilities are averaged; "
            "takes num_clips times as long. 1 scores the whole sequence once.",
            minimum=1,
            maximum=100,
        ),
    ] = 1
    gpu_id: Annotated[
        int | None,
        Param("GPU index of older TAO specs; takes precedence over gpu_ids.", minimum=0, tao_flags=("--gpu_id",)),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Gpus):
    seed: Annotated[int, Param("Random seed.", minimum=0, maximum=2**32 - 1)] = 1234
    num_epochs: Annotated[int, Param("Number of training epochs.", minimum=1, popular=True)] = 10
    checkpoint_interval: Annotated[
        int, Param("Interval between checkpoints, in checkpoint_interval_unit.", minimum=1)
    ] = 1
    checkpoint_interval_unit: Annotated[str, Param("Unit of checkpoint_interval.", choices=("epoch", "step"))] = "epoch"
    validation_interval: Annotated[int, Param("Epochs between validations.", minimum=1)] = 1
    resume_training_checkpoint_path: Annotated[
        str | None,
        Param("Checkpoint to resume from, instead of the latest in results_dir.", reads_file=True, checkpoint=True),
    ] = None
    results_dir: Annotated[
        str | None, Param("Folder for the results of train; default: results_dir/train.", writes=True)
    ] = None
    precision: Annotated[
        str,
        Param(
            "Precision of training steps; bf16 is faster on GPUs and CPUs with bf16 arithmetic, auto uses it there. "
            "Weights stay fp32.",
            choices=("fp32", "bf16", "auto"),
            fold_case=True,
            popular=True,
            own=True,
        ),
    ] = "fp32"
    grad_clip: Annotated[
        float,
        Param(
            "Maximum gradient norm for clipping; 0 turns clipping off.",
            minimum=0.0,
            low=0.0,
            high=10.0,
            off=0.0,
            tune=True,
        ),
    ] = 0.0
    cudnn: Annotated[Cudnn, Param("cuDNN settings.")] = field(default_factory=Cudnn)
    optim: Annotated[Optim, Param("Optimizer and learning-rate schedule.")] = field(default_factory=Optim)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(OnTestSet):
    test_dataset: Annotated[LabelledData, Param("Test set.")] = field(default_factory=LabelledData)
    results_dir: Annotated[
        str | None, Param("Folder for the results of evaluate; default: results_dir/evaluate.", writes=True)
    ] = None


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(OnTestSet):
    test_dataset: Annotated[UnlabelledData, Param("Sequences to classify.")] = field(default_factory=UnlabelledData)
    output_file: Annotated[
        str | None,
        Param(
            "File for the predicted class names, one per line; default: results_dir/inference/results.txt.", writes=True
        ),
    ] = None
    results_dir: Annotated[
        str | None, Param("Folder for the results of inference; default: results_dir/inference.", writes=True)
    ] = None


@dataclass(frozen=True, kw_only=True)
class ExportCalibration:
    data_path: Annotated[
        str | None,
        Param(
            "Calibration data for int8, .npy of shape (N, C, T, V, M); use the training data.",
            reads_file=True,
            depends_on=("export.precision", "int8"),
        ),
    ] = None
    sequences: Annotated[
        int,
        Param(
            "Number of calibration sequences, spread evenly over the file.",
            minimum=1,
            depends_on=("export.precision", "int8"),
        ),
    ] = 64


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    checkpoint: Annotated[str, Param("Trained model to export.", reads_file=True, checkpoint=True, popular=True)] = (
        REQUIRED
    )
    onnx_file: Annotated[str | None, Param("ONNX file to write; default: model.onnx in results_dir.", writes=True)] = (
        None
    )
    results_dir: Annotated[
        str | None, Param("Folder for the results of export; default: results_dir/export.", writes=True)
    ] = None
    gpu_id: Annotated[int, Param("GPU index.", minimum=0, tao_flags=("--gpu_id",))] = 0
    batch_size: Annotated[int, Param("Batch size of the ONNX input; -1 means dynamic.", minimum=-1, reject=(0,))] = -1
    opset_version: Annotated[int | None, Param("ONNX opset; default: 18.", minimum=12)] = None
    sequence_length: Annotated[
        int | None,
        Param(
            "Frames T of the ONNX input; -1 means dynamic; default: the frames of the layout.",
            minimum=-1,
            reject=(0,),
        ),
    ] = None
    num_persons: Annotated[
        int | None, Param("Persons M of the ONNX input; default: the persons of the layout.", minimum=1)
    ] = None
    sample_data: Annotated[
        str | None,
        Param("Sequences on which to compare the ONNX file with the model; default: random motion.", reads_file=True),
    ] = None
    precision: Annotated[
        str,
        Param(
            "Precision of the blocks: int8 is several times as fast in onnxruntime on CPUs; not for TensorRT.",
            choices=("fp32", "int8"),
            fold_case=True,
            popular=True,
        ),
    ] = "fp32"
    calibration: Annotated[ExportCalibration, Param("Calibration for int8.")] = field(default_factory=ExportCalibration)
    overwrite: Annotated[bool, Param("Replace an existing ONNX file.")] = False


@dataclass(frozen=True, kw_only=True)
class Calibration:
    cal_image_dir: Annotated[
        str | None, Param("Calibration data for int8, .npy of shape (N, C, T, V, M).", reads_file=True)
    ] = None
    cal_cache_file: Annotated[str | None, Param("Calibration cache to read or write.", writes=True)] = None
    cal_batch_size: Annotated[int, Param("Sequences in a calibration batch.", minimum=1)] = 1
    cal_batches: Annotated[int, Param("Number of calibration batches.", minimum=1)] = 1


@dataclass(frozen=True, kw_only=True)
class TensorRT:
    data_type: Annotated[
        str, Param("Precision of the engine.", choices=("fp32", "fp16", "int8"), fold_case=True, popular=True)
    ] = "fp32"
    workspace_size: Annotated[int, Param("Builder workspace in MiB.", minimum=1)] = 1024
    min_batch_size: Annotated[int, Param("Smallest batch size of the optimization profile.", minimum=1)] = 1
    opt_batch_size: Annotated[int, Param("Batch size that the engine is optimized for.", minimum=1)] = 1
    max_batch_size: Annotated[int, Param("Largest batch size of the optimization profile.", minimum=1)] = 1
    calibration: Annotated[Calibration, Param("Calibration for int8.")] = field(default_factory=Calibration)


@dataclass(frozen=True, kw_only=True)
class GenTrtEngineConfig:
    onnx_file: Annotated[str, Param("ONNX file to build the engine from.", reads_file=True, popular=True)] = REQUIRED
    trt_engine: Annotated[str | None, Param("Engine file to write; default: in results_dir.", writes=True)] = None
    results_dir: Annotated[
        str | None, Param("Folder for the results of gen_trt_engine; default: results_dir/gen_trt_engine.", writes=True)
    ] = None
    gpu_id: Annotated[int, Param("GPU index.", minimum=0, tao_flags=("--gpu_id",))] = 0
    batch_size: Annotated[
        int, Param("Fixed batch size; -1 uses those of the optimization profile.", minimum=-1, reject=(0,))
    ] = -1
    verbose: Annotated[bool, Param("Log every message of the TensorRT builder.")] = False
    timing_cache: Annotated[str | None, Param("TensorRT timing cache to read and update.", writes=True)] = None
    tensorrt: Annotated[TensorRT, Param("TensorRT builder settings.")] = field(default_factory=TensorRT)


@dataclass(frozen=True, kw_only=True)
class DatasetConvertConfig:
    data: Annotated[str, Param("DeepStream bodypose-3d JSON file.", reads_file=True, popular=True)] = REQUIRED
    results_dir: Annotated[
        str | None,
        Param("Folder for the results of dataset_convert; default: results_dir/dataset_convert.", writes=True),
    ] = None
    pose_type: Annotated[
        str, Param("Body pose to convert: 3D, 2.5D or 2D.", choices=("3dbp", "25dbp", "2dbp"), popular=True)
    ] = "3dbp"
    num_joints: Annotated[int, Param("Number of joints of a pose.", minimum=1)] = 34
    input_width: Annotated[int, Param("Width of the video in pixels.", minimum=1)] = 1920
    input_height: Annotated[int, Param("Height of the video in pixels.", minimum=1)] = 1080
    focal_length: Annotated[float, Param("Focal length of the camera in pixels.", above=0.0)] = 1200.0
    sequence_length_max: Annotated[int, Param("Frames T of the arrays to write.", minimum=1)] = 300
    sequence_length_min: Annotated[
        int, Param("Minimum frames of a window; shorter windows are dropped.", minimum=1)
    ] = 10
    sequence_length: Annotated[int, Param("Maximum frames of a window.", minimum=1)] = 100
    sequence_overlap: Annotated[
        float, Param("Step between windows as a share of sequence_length.", above=0.0, maximum=1.0)
    ] = 0.5
    combine: Annotated[bool, Param("Also write all windows as a single array, ready for inference.", popular=True)] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    replaced: ClassVar[Mapping[str, str]] = MappingProxyType({"dataset.trim_padding": "dataset.resample_frames"})
    """Keys that older versions read, each with the key to set instead."""

    encryption_key: Annotated[
        str | None, Param("Encryption key of checkpoints.", secret=True, tao_flags=("-k", "--key"))
    ] = None
    results_dir: Annotated[
        str | None,
        Param("Folder for results; default: the folder of the job.", writes=True, tao_flags=("-r", "--results_dir")),
    ] = None
    model_name: Annotated[str | None, Param("Model name, recorded with the model and its runs.")] = None
    wandb: Annotated[Wandb, Param("Weights & Biases logging.")] = field(default_factory=Wandb)
    model: Annotated[ModelConfig, Param("Network.", only=ON_MODEL)] = field(default_factory=ModelConfig)
    dataset: Annotated[DatasetConfig, Param("Data.", only=ON_MODEL)] = field(default_factory=DatasetConfig)
    train: Annotated[TrainConfig, Param("Training.", only=TRAIN)] = field(default_factory=TrainConfig)
    evaluate: Annotated[EvaluateConfig, Param("Evaluation.", only=("evaluate",))] = field(
        default_factory=EvaluateConfig
    )
    inference: Annotated[InferenceConfig, Param("Inference.", only=("inference",))] = field(
        default_factory=InferenceConfig
    )
    export: Annotated[ExportConfig, Param("Export to ONNX.", only=("export",))] = field(default_factory=ExportConfig)
    gen_trt_engine: Annotated[GenTrtEngineConfig, Param("TensorRT engine.", only=("gen_trt_engine",))] = field(
        default_factory=GenTrtEngineConfig
    )
    dataset_convert: Annotated[DatasetConvertConfig, Param("Data conversion.", only=("dataset_convert",))] = field(
        default_factory=DatasetConvertConfig
    )
