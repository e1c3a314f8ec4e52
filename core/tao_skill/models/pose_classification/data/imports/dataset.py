"""Convert a folder of recordings into sequences (N, C, T, V, M), labels and a label map."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.errors import BadRequest
from tao_skill.io.atomic import write_json, write_with
from tao_skill.models.pose_classification.data.imports.clip import FRAMES_LIMIT, Clip, Label, bad_data
from tao_skill.models.pose_classification.data.imports.formats import FORMATS, choose
from tao_skill.models.pose_classification.data.imports.labels import Classes, read_label_file
from tao_skill.models.pose_classification.data.imports.people import PEOPLE_KEPT
from tao_skill.models.pose_classification.data.imports.request import RecordingImport
from tao_skill.models.pose_classification.data.inspect import EXAMPLES, inspect
from tao_skill.models.pose_classification.network.layouts import LAYOUTS

DROPPED: Final = ("empty_clips", "clips_with_more_people", "clips_with_more_frames")
"""Kinds of dropped data: clips without people, people beyond M and frames beyond T.

The manifest lists the affected clips of each kind with their numbers of frames or people.
"""

INSPECT_BYTES: Final = 2**30
"""Largest array in bytes that is inspected after the import; larger arrays take minutes."""


def import_data(request: RecordingImport) -> dict[str, Any]:
    """Write the array, a manifest of dropped data and, if classes are known, labels and a label map.

    Importing a split again replaces it. One clip is in memory at a time, except for pickles, which are read as a whole.

    Returns:
        JSON-able: `format`, `files`, `shape`, `rule`, `spec` (settings for a spec file), `dropped` (counts and first
        names; the manifest has all), `warnings` and `suggested` as in `inspect`.

    Raises:
        BadRequest: the format cannot be determined, or an option does not apply to it.
        NotFound: the source or the label file does not exist.
        BadData: a file cannot be read, or clips are inconsistent; nothing is written.
        OSError: the folder cannot be written.
    """
    name, chosen = choose(request)
    if request.out.resolve() == request.source.resolve():
        raise BadRequest("--out is the folder of the recordings", fix="set --out to another folder")
    recording_format = FORMATS[name]
    split = _split_name(request)
    clips = recording_format.read(request)
    first = next(clips, None)
    if first is None:
        raise bad_data(request.source, "has no clips of this split", "choose another split or folder")
    writer = _SplitWriter(request, first.layout)
    files = {kind: request.out / f"{split}_{kind}" for kind in ("data.npy", "label.pkl", "manifest.json")}
    write_with(files["data.npy"], lambda stream: writer.write(chain([first], clips), stream))
    facts = {
        "format": {"name": name, "chosen": chosen},
        "rule": recording_format.rule,
        "layout": writer.layout,
        "shape": writer.shape,
    }
    written = [files["data.npy"], *_write_labels(writer, files["label.pkl"]), files["manifest.json"]]
    write_json(files["manifest.json"], {"source": str(request.source), **facts, "dropped": writer.dropped})
    return {
        **facts,
        "files": [str(file) for file in written],
        "spec": writer.spec(),
        "dropped": {
            kind: {"count": len(names), "first": list(names)[:EXAMPLES]} for kind, names in writer.dropped.items()
        },
        **_inspected(files["data.npy"], files["label.pkl"] if writer.labelled else None),
    }


def _split_name(request: RecordingImport) -> str:
    """Prefix of the file names: the split, or else the source."""
    name = request.split or re.sub(r"[^\w.-]", "_", request.source.resolve().stem)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadRequest(f"--split {name!r} cannot begin a file name", fix="use only letters, digits, '_', '-' and '.'")
    return name


@dataclass
class _SplitWriter:
    """Writes the array of a split, and collects its labels, classes and dropped data."""

    request: RecordingImport
    layout: str
    names: list[str] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in DROPPED})

    def __post_init__(self) -> None:
        layout, request = LAYOUTS[self.layout], self.request
        self.frames = _bounded("frames", request.frames, layout.frames, FRAMES_LIMIT)
        self.persons = _bounded("persons", request.persons, layout.persons, PEOPLE_KEPT)
        self.joints = layout.joints
        self.labels = read_label_file(request.labels) if request.labels else None
        self.classes = Classes(request.out / "label_map.json")

    @property
    def shape(self) -> list[int]:
        """Shape (N, C, T, V, M) of the array."""
        return [len(self.names), 3, self.frames, self.joints, self.persons]

    @property
    def labelled(self) -> bool:
        """Whether the classes of the clips are known: either of all clips or of none."""
        return self.ids[0] is not None

    def spec(self) -> dict[str, Any]:
        """Settings for a spec file that trains on these data."""
        classes = {"dataset": {"num_classes": self.classes.count}} if self.labelled else {}
        return {"model": {"graph_layout": self.layout}} | classes

    def write(self, clips: Iterable[Clip], stream: IO[bytes]) -> None:
        """Write the array clip by clip; the header is rewritten once the number of clips is known."""
        self._write_header(stream)
        begin = stream.tell()
        for clip in clips:
            x_CTVM = self._pad(clip)
            if x_CTVM.any():
                self._add(clip)
                stream.write(x_CTVM.tobytes())
            else:
                self.dropped["empty_clips"][clip.name] = clip.x_CTVP.shape[1]
        self._check_labels()
        stream.seek(0)
        self._write_header(stream)
        if stream.tell() != begin:
            raise AssertionError("NumPy pads the header so that its length does not depend on the number of sequences")

    def _write_header(self, stream: IO[bytes]) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(self.shape)}
        np.lib.format.write_array_header_1_0(stream, header)

    def _pad(self, clip: Clip) -> NDArray[np.float32]:
        """The first T frames and M highest-ranked people of a clip, zero-padded to (3, T, V, M)."""
        if clip.layout != self.layout:
            problem = f"has the layout {clip.layout}, but earlier clips have {self.layout}"
            raise bad_data(clip.place, problem, "import each layout separately")
        part_CTVP = clip.x_CTVP[:, : self.frames, :, : self.persons]
        x_CTVM = np.zeros(self.shape[1:], dtype="<f4")
        with np.errstate(over="ignore"):
            x_CTVM[:, : part_CTVP.shape[1], :, : part_CTVP.shape[3]] = part_CTVP
        if not np.isfinite(x_CTVM).all():
            _, frame, joint, _ = np.argwhere(~np.isfinite(x_CTVM))[0]
            problem = f"frame {frame}, joint {joint} is too large for a float32"
            raise bad_data(clip.place, problem, "repair or remove the clip")
        return x_CTVM

    def _add(self, clip: Clip) -> None:
        label = self._label(clip)
        if label is not None:
            self.classes.add(clip.place, label)
        self.names.append(clip.name)
        self.ids.append(None if label is None else label[0])
        if clip.people > self.persons:
            self.dropped["clips_with_more_people"][clip.name] = clip.people
        if (frames := clip.x_CTVP.shape[1]) > self.frames:
            self.dropped["clips_with_more_frames"][clip.name] = frames

    def _label(self, clip: Clip) -> Label | None:
        if self.labels is None:
            return clip.label
        if clip.name not in self.labels:
            fix = "add the clip to the label file, or remove the clip"
            raise bad_data(clip.place, f"clip {clip.name!r} is not in {self.request.labels}", fix)
        return self.labels[clip.name]

    def _check_labels(self) -> None:
        """Check the completed split.

        Raises:
            BadData: all clips are empty, two have the same name, or some have a class and others none.
        """
        source = self.request.source
        if not self.names:
            raise bad_data(source, f"all {len(self.dropped['empty_clips'])} clips are empty", "give clips with people")
        ((name, times),) = Counter(self.names).most_common(1)
        if times > 1:
            raise bad_data(source, f"{times} clips are named {name!r}", "give every clip a unique name")
        if None in self.ids and any(number is not None for number in self.ids):
            unlabelled = self.names[self.ids.index(None)]
            problem = f"clip {unlabelled!r} has no class, but others have one"
            raise bad_data(source, problem, "give --labels with every clip, or remove the clip")
        self.classes.label_map()


def _bounded(option: str, value: int | None, default: int, limit: int) -> int:
    if value is not None and not 1 <= value <= limit:
        raise BadRequest(f"--{option} is {value}, accepted: 1 to {limit}", fix=f"omit --{option} to use {default}")
    return value or default


def _write_labels(writer: _SplitWriter, file: Path) -> list[Path]:
    """Write the label file and the label map; without classes, delete the labels of an earlier import of this split."""
    if not writer.labelled:
        file.unlink(missing_ok=True)
        return []
    write_with(file, lambda stream: pickle.dump([writer.names, writer.ids], stream, protocol=2))
    write_json(writer.classes.file, writer.classes.label_map())
    return [file, writer.classes.file]


def _inspected(data: Path, labels: Path | None) -> dict[str, Any]:
    """Warnings and suggestions of `inspect`, unless the array is too large."""
    if data.stat().st_size > INSPECT_BYTES:
        command = f"tao-skill data inspect {data} {labels or ''}".rstrip()
        return {"warnings": [f"the array is large and was not inspected: run {command}"], "suggested": {}}
    report = inspect(data, labels)
    return {"warnings": report["warnings"], "suggested": report["suggested"]}
