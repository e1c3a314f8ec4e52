"""Convert a DeepStream bodypose-3d recording into sequences: one array of windows per tracked person."""

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
from tao_skill.models.pose_classification.data.windows import consecutive_ranges, starts
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
        records: index of each frame in the temporary file.
        frame_nums: number of each frame in its source, strictly ascending.
        batch_ids: every batch_id of the person's frames.
    """

    object_id: int
    records: array[int] = field(default_factory=lambda: array("Q"))
    frame_nums: array[int] = field(default_factory=lambda: array("Q"))
    batch_ids: set[int] = field(default_factory=set)

    @property
    def file(self) -> str:
        """File name of the person's array."""
        return f"object_{self.object_id}.npy"


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames `start` up to but not including `stop` of a person."""

    person: Person
    index: int
    start: int
    stop: int


def run(config: ExperimentConfig) -> Outcome:
    """Write object_<id>.npy for each person with a window, windows.json and, with `combine`, combined.npy.

    Either all files are written or none.

    Raises:
        SpecError: the sequence lengths or the overlap contradict each other, or the file does not exist.
        BadData: the file is not a bodypose-3d recording, or no person is visible for long enough.
    """
    if problems := check(config, "dataset_convert").problems:
        raise SpecError(problems)
    settings = config.dataset_convert
    results_dir = task_results_dir(config, "dataset_convert").absolute()
    with reporting(results_dir, "Dataset convert") as status:
        wandb_run = start_run(config, "dataset_convert")
        with partial_folder(results_dir) as folder, (folder / "poses").open("w+b") as poses_file:
            people = collect(settings, poses_file, status)
            names = write(settings, people, poses_file, folder)
            publish(folder, results_dir, names)
        for warning in _warnings(people, results_dir, names):
            print(f"warning: {warning}", file=sys.stderr)
            status.write("RUNNING", warning, verbosity="WARNING")
        metrics = _metrics(settings, people)
        finish_run(wandb_run, metrics)
        status.write("SUCCESS", "Dataset convert finished.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=[Artifact(kind=names[name], path=results_dir / name) for name in names])


@contextmanager
def partial_folder(results_dir: Path) -> Iterator[Path]:
    """A temporary folder on the disk of the results; files that a killed conversion left in it are deleted first."""
    folder = results_dir / ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def normalise(joints_V4: NDArray[np.float64], settings: DatasetConvertConfig) -> NDArray[np.float32]:
    """Normalise a pose for the network, shape (C, V); joints of confidence 0 are zero.

    3dbp is relative to joint 0 and divided by the focal length; x and y of 25dbp and 2dbp are divided by the image size
    and centred at 0.
    """
    if settings.pose_type == "3dbp":
        x_V3 = (joints_V4[:, :3] - joints_V4[0, :3]) / settings.focal_length
    else:
        x_V3 = joints_V4[:, :3] / (settings.input_width, settings.input_height, 1.0) - (0.5, 0.5, 0.0)
    x_V3[joints_V4[:, 3] == 0.0] = 0.0
    return x_V3[:, : CHANNELS[settings.pose_type]].T.astype(np.float32)


def collect(settings: DatasetConvertConfig, poses_file: IO[bytes], status: StatusLog) -> list[Person]:
    """Write every normalised pose to a temporary file, so that only 16 bytes per pose stay in memory.

    Returns:
        The people in the order of their appearance; at least one has a window.

    Raises:
        BadData: the recording cannot be used; the message names the place.
    """
    people: dict[int, Person] = {}
    poses = read_poses(Path(settings.data), settings.pose_type, settings.num_joints)
    for record, pose in enumerate(_with_progress(poses, Path(settings.data), status)):
        person = people.get(pose.object_id) or people.setdefault(pose.object_id, Person(object_id=pose.object_id))
        _check_order(person, pose)
        person.records.append(record)
        person.frame_nums.append(pose.frame_num)
        person.batch_ids.add(pose.batch_id)
        poses_file.write(normalise(pose.joints_V4, settings).tobytes())
    _check_lengths(people.values(), settings)
    status.write(
        "RUNNING", f"Read {sum(len(person.records) for person in people.values())} poses of {len(people)} people."
    )
    return list(people.values())


def write(settings: DatasetConvertConfig, people: list[Person], poses_file: IO[bytes], folder: Path) -> dict[str, str]:
    """Write the arrays and the manifest.

    Returns:
        Artifact kind by file name.
    """
    names = {}
    for person in people:
        if starts(len(person.records), settings):
            _write_array(folder / person.file, [person], settings, poses_file)
            names[person.file] = "sequences"
    if settings.combine:
        _write_array(folder / COMBINED, people, settings, poses_file)
        names[COMBINED] = "combined_sequences"
    atomic.write_with(folder / MANIFEST, lambda stream: stream.writelines(_manifest(settings, people)))
    return names | {MANIFEST: "manifest"}


def publish(folder: Path, results_dir: Path, names: Iterable[str]) -> None:
    """Move finished files to the results; if a move fails, remove the files moved before."""
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
    """Iterate over all windows, person by person."""
    for person in people:
        frames = len(person.records)
        for index, start in enumerate(starts(frames, settings)):
            stop = min(start + settings.sequence_length, frames)
            yield Window(person=person, index=index, start=start, stop=stop)


def _with_progress(poses: Iterable[Pose], path: Path, status: StatusLog) -> Iterator[Pose]:
    size, started = path.stat().st_size, time.monotonic()
    transfer = f"converting {path.name}"
    reported = started
    for pose in poses:
        if (now := time.monotonic()) - reported >= _PROGRESS_S:
            reported = now
            left_s = (now - started) * (size / max(1, pose.place.byte) - 1)
            done = pose.place.byte
            status.progress(Progress(transfer=transfer, bytes=done, bytes_total=size, eta_s=round(left_s, 1)))
        yield pose
    status.progress(Progress(transfer=transfer, bytes=size, bytes_total=size, eta_s=0.0))


def _check_order(person: Person, pose: Pose) -> None:
    if person.frame_nums and pose.frame_num <= person.frame_nums[-1]:
        raise pose.place.error(
            f"object {person.object_id} was seen at frame_num {person.frame_nums[-1]} before, "
            "so people of different sources share this object_id",
            fix="record each source separately, or let the tracker assign unique ids (useUniqueID: 1)",
        )


def _check_lengths(people: Iterable[Person], settings: DatasetConvertConfig) -> None:
    longest = max(people, key=lambda person: len(person.records), default=None)
    if longest is None:
        raise BadData(f"{settings.data} has no objects", fix="record a video with people in it", path=settings.data)
    frames = len(longest.records)
    if frames < settings.sequence_length_min:
        raise BadData(
            f"no person in {settings.data} is visible for {settings.sequence_length_min} frames "
            f"(dataset_convert.sequence_length_min); the longest is object {longest.object_id} with {frames} frames",
            fix=f"set dataset_convert.sequence_length_min={frames}, or make a longer recording",
            path=settings.data,
        )


def _write_array(path: Path, people: list[Person], settings: DatasetConvertConfig, poses_file: IO[bytes]) -> None:
    shape_CTV1 = (CHANNELS[settings.pose_type], settings.sequence_length_max, settings.num_joints, 1)
    count = sum(len(starts(len(person.records), settings)) for person in people)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape_CTV1)}

    def write_to(stream: IO[bytes]) -> None:
        np.lib.format.write_array_header_1_0(stream, header)
        for window in windows(people, settings):
            x_TCV = _frames(window, poses_file, settings)
            x_CTV1 = np.zeros(shape_CTV1, dtype="<f4")
            x_CTV1[:, : len(x_TCV), :, 0] = x_TCV.transpose(1, 0, 2)
            stream.write(x_CTV1.tobytes())

    atomic.write_with(path, write_to)


def _frames(window: Window, poses_file: IO[bytes], settings: DatasetConvertConfig) -> NDArray[np.float32]:
    shape_CV = (CHANNELS[settings.pose_type], settings.num_joints)
    size = 4 * shape_CV[0] * shape_CV[1]
    parts = []
    for record in window.person.records[window.start : window.stop]:
        poses_file.seek(record * size)
        parts.append(poses_file.read(size))
    return np.frombuffer(b"".join(parts), dtype=np.float32).reshape(-1, *shape_CV)


def _manifest(settings: DatasetConvertConfig, people: list[Person]) -> Iterator[bytes]:
    """Content of windows.json, one window per line: window i of the list is sequence i of the combined array."""
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
            "source_frames": consecutive_ranges(window.person.frame_nums[window.start : window.stop]),
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
    if changing := [person.object_id for person in people if len(person.batch_ids) > 1]:
        yield (
            f"objects {changing[:5]} change their batch_id ({len(changing)} in all): if their ids are not unique "
            "across sources, windows mix people; to avoid this, record each source separately"
        )
    if older := sorted(path.name for path in results_dir.glob("object_*.npy") if path.name not in names):
        yield f"{results_dir} also contains arrays of an earlier run: {', '.join(older[:5])}"
