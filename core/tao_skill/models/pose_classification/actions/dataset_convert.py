"""Turn a DeepStream bodypose-3d recording into sequences: one array a tracked person, cut into windows."""

from __future__ import annotations

import json
import shutil
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.errors import BadData, SpecError
from tao_skill.io import atomic
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.config import DatasetConvertConfig, ExperimentConfig
from tao_skill.models.pose_classification.data.deepstream import Pose, read_poses
from tao_skill.models.pose_classification.data.windows import runs, starts
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.progress import Progress
from tao_skill.status import StatusLog, reporting

COMBINED: Final = "combined.npy"
MANIFEST: Final = "windows.json"
CHANNELS: Final = {"3dbp": 3, "25dbp": 3, "2dbp": 2}

_PROGRESS_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Person:
    """All frames of one tracked person, in the order of the recording.

    Attributes:
        records: where each frame lies in the spool. frame_nums: its number in the source, ever growing.
        batch_ids: the places in batches that the person was seen at.
    """

    object_id: int
    records: array[int] = field(default_factory=lambda: array("Q"))
    frame_nums: array[int] = field(default_factory=lambda: array("Q"))
    batch_ids: set[int] = field(default_factory=set)

    @property
    def file(self) -> str:
        """The name of the person's array."""
        return f"object_{self.object_id}.npy"


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames `start` to `stop` of a person."""

    person: Person
    index: int
    start: int
    stop: int


def run(config: ExperimentConfig) -> Outcome:
    """Write object_<id>.npy of each person with a window, windows.json and, if wanted, combined.npy; all or none.

    Raises:
        SpecError: the sequence lengths or the overlap do not go together, or there is no such file.
        BadData: the file is no bodypose-3d recording, or nobody in it is there for long enough.
    """
    if problems := check(config, "dataset_convert").problems:
        raise SpecError(problems)
    settings = config.dataset_convert
    results_dir = task_results_dir(config, "dataset_convert").absolute()
    with reporting(results_dir, "Dataset convert") as status:
        tracked = start_run(config, "dataset_convert")
        with partial_folder(results_dir) as folder, (folder / "spool").open("w+b") as spool:
            people = collect(settings, spool, status)
            names = write(settings, people, spool, folder)
            publish(folder, results_dir, names)
        for warning in _warnings(people, results_dir, names):
            print(f"warning: {warning}", file=sys.stderr)
            status.write("RUNNING", warning, verbosity="WARNING")
        metrics = _metrics(settings, people)
        finish_run(tracked, metrics)
        status.write("SUCCESS", "Dataset convert finished.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=[Artifact(kind=names[name], path=results_dir / name) for name in names])


@contextmanager
def partial_folder(results_dir: Path) -> Iterator[Path]:
    """A folder for unfinished files, on the disk of the results; what a killed conversion left in it goes first."""
    folder = results_dir / ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def normalise(joints_V4: NDArray[np.float64], settings: DatasetConvertConfig) -> NDArray[np.float32]:
    """A pose as the network gets it, (C, V): zero where the confidence is 0.

    3dbp is relative to joint 0, in focal lengths; 25dbp and 2dbp are shares of the image, its middle being 0.
    """
    if settings.pose_type == "3dbp":
        x_V3 = (joints_V4[:, :3] - joints_V4[0, :3]) / settings.focal_length
    else:
        x_V3 = joints_V4[:, :3] / (settings.input_width, settings.input_height, 1.0) - (0.5, 0.5, 0.0)
    x_V3[joints_V4[:, 3] == 0.0] = 0.0
    return x_V3[:, : CHANNELS[settings.pose_type]].T.astype(np.float32)


def collect(settings: DatasetConvertConfig, spool: IO[bytes], status: StatusLog) -> list[Person]:
    """Put every pose, normalised, into the spool; in memory stay 16 bytes for each.

    Returns:
        The people in the order in which they appear; at least one has a window.

    Raises:
        BadData: the recording cannot be used; says where and why.
    """
    people: dict[int, Person] = {}
    poses = read_poses(Path(settings.data), settings.pose_type, settings.num_joints)
    for record, pose in enumerate(_with_progress(poses, Path(settings.data), status)):
        person = people.get(pose.object_id) or people.setdefault(pose.object_id, Person(object_id=pose.object_id))
        _check_order(person, pose)
        person.records.append(record)
        person.frame_nums.append(pose.frame_num)
        person.batch_ids.add(pose.batch_id)
        spool.write(normalise(pose.joints_V4, settings).tobytes())
    _check_lengths(people.values(), settings)
    status.write("RUNNING", f"Read {sum(len(one.records) for one in people.values())} poses of {len(people)} people.")
    return list(people.values())


def write(settings: DatasetConvertConfig, people: list[Person], spool: IO[bytes], folder: Path) -> dict[str, str]:
    """Write arrays and manifest.

    Returns:
        The kind of each file by its name.
    """
    names = {}
    for person in people:
        if starts(len(person.records), settings):
            _write_array(folder / person.file, [person], settings, spool)
            names[person.file] = "sequences"
    if settings.combine:
        _write_array(folder / COMBINED, people, settings, spool)
        names[COMBINED] = "combined_sequences"
    atomic.write_with(folder / MANIFEST, lambda stream: stream.writelines(_manifest(settings, people)))
    return names | {MANIFEST: "manifest"}


def publish(folder: Path, results_dir: Path, names: Iterable[str]) -> None:
    """Move finished files into place; if one cannot be moved, none stays."""
    moved: list[Path] = []
    try:
        for name in names:
            (folder / name).replace(results_dir / name)
            moved.append(results_dir / name)
    except BaseException:
        for path in moved:
            path.unlink()
        raise
    atomic.sync_folder(results_dir)


def windows(people: Iterable[Person], settings: DatasetConvertConfig) -> Iterator[Window]:
    """Every window, person by person."""
    for person in people:
        frames = len(person.records)
        for index, start in enumerate(starts(frames, settings)):
            stop = min(start + settings.sequence_length, frames)
            yield Window(person=person, index=index, start=start, stop=stop)


def _with_progress(poses: Iterable[Pose], path: Path, status: StatusLog) -> Iterator[Pose]:
    size, began = path.stat().st_size, time.monotonic()
    transfer = f"converting {path.name}"
    told = began
    for pose in poses:
        if (now := time.monotonic()) - told >= _PROGRESS_S:
            told = now
            left_s = (now - began) * (size / max(1, pose.place.byte) - 1)
            status.progress(
                Progress(transfer=transfer, bytes=pose.place.byte, bytes_total=size, eta_s=round(left_s, 1))
            )
        yield pose
    status.progress(Progress(transfer=transfer, bytes=size, bytes_total=size, eta_s=0.0))


def _check_order(person: Person, pose: Pose) -> None:
    if person.frame_nums and pose.frame_num <= person.frame_nums[-1]:
        raise pose.place.bad(
            f"object {person.object_id} was seen at frame_num {person.frame_nums[-1]} before, "
            "so two people of different sources share this object_id",
            fix="record one source a file, or let the tracker give unique ids (useUniqueID: 1)",
        )


def _check_lengths(people: Iterable[Person], settings: DatasetConvertConfig) -> None:
    longest = max(people, key=lambda person: len(person.records), default=None)
    if longest is None:
        raise BadData(f"{settings.data} has no objects", fix="record a video with people in it", path=settings.data)
    frames = len(longest.records)
    if frames < settings.sequence_length_min:
        raise BadData(
            f"nobody in {settings.data} is there for {settings.sequence_length_min} frames "
            f"(dataset_convert.sequence_length_min): object {longest.object_id} is there longest, for {frames}",
            fix=f"set dataset_convert.sequence_length_min={frames}, or record longer",
            path=settings.data,
        )


def _write_array(path: Path, people: list[Person], settings: DatasetConvertConfig, spool: IO[bytes]) -> None:
    shape_CTV1 = (CHANNELS[settings.pose_type], settings.sequence_length_max, settings.num_joints, 1)
    count = sum(len(starts(len(person.records), settings)) for person in people)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape_CTV1)}

    def write_to(stream: IO[bytes]) -> None:
        np.lib.format.write_array_header_1_0(stream, header)
        for window in windows(people, settings):
            x_TCV = _frames(window, spool, settings)
            x_CTV1 = np.zeros(shape_CTV1, dtype="<f4")
            x_CTV1[:, : len(x_TCV), :, 0] = x_TCV.transpose(1, 0, 2)
            stream.write(x_CTV1.tobytes())

    atomic.write_with(path, write_to)


def _frames(window: Window, spool: IO[bytes], settings: DatasetConvertConfig) -> NDArray[np.float32]:
    shape_CV = (CHANNELS[settings.pose_type], settings.num_joints)
    size = 4 * shape_CV[0] * shape_CV[1]
    parts = []
    for record in window.person.records[window.start : window.stop]:
        spool.seek(record * size)
        parts.append(spool.read(size))
    return np.frombuffer(b"".join(parts), dtype=np.float32).reshape(-1, *shape_CV)


def _manifest(settings: DatasetConvertConfig, people: list[Person]) -> Iterator[bytes]:
    """windows.json, a window a line: window i of the list is sequence i of the combined array."""
    facts: Mapping[str, Any] = {
        "dataset_convert": asdict(settings),
        "combined": COMBINED if settings.combine else None,
        "too_short": {
            str(person.object_id): len(person.records) for person in people if not starts(len(person.records), settings)
        },
    }
    yield b"{\n"
    for name, value in facts.items():
        yield f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},\n".encode()
    yield b' "windows": ['
    for number, window in enumerate(windows(people, settings)):
        entry = {
            "object_id": window.person.object_id,
            "file": window.person.file,
            "index": window.index,
            "frames": window.stop - window.start,
            "source_frames": runs(window.person.frame_nums[window.start : window.stop]),
        }
        yield f"{',' if number else ''}\n  {json.dumps(entry)}".encode()
    yield b"\n ]\n}\n"


def _metrics(settings: DatasetConvertConfig, people: list[Person]) -> dict[str, float]:
    counts = [len(starts(len(person.records), settings)) for person in people]
    return {
        "persons": float(sum(count > 0 for count in counts)),
        "persons_too_short": float(sum(count == 0 for count in counts)),
        "windows": float(sum(counts)),
        "frames": float(sum(len(person.records) for person in people)),
    }


def _warnings(people: list[Person], results_dir: Path, names: Mapping[str, str]) -> Iterator[str]:
    if moving := [person.object_id for person in people if len(person.batch_ids) > 1]:
        yield (
            f"objects {moving[:5]} change their batch_id ({len(moving)} in all): "
            "if their ids are not unique across sources, windows mix people; record one source a file to be sure"
        )
    if older := sorted(path.name for path in results_dir.glob("object_*.npy") if path.name not in names):
        yield f"{results_dir} also has arrays of an earlier run: {', '.join(older[:5])}"
