"""Turn a folder of recordings into sequences (N, C, T, V, M), labels and a label map."""

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
from tao_skill.models.pose_classification.data.imports.clip import FRAMES_LIMIT, Clip, Label, bad
from tao_skill.models.pose_classification.data.imports.formats import FORMATS, choose
from tao_skill.models.pose_classification.data.imports.labels import Classes, read_label_file
from tao_skill.models.pose_classification.data.imports.people import PEOPLE_KEPT
from tao_skill.models.pose_classification.data.inspect import EXAMPLES, inspect
from tao_skill.models.pose_classification.network.graph import LAYOUTS
from tao_skill.outcome import ImportRequest

DROPPED: Final = ("empty_clips", "clips_with_more_people", "clips_with_more_frames")
"""What is left out: clips without anyone, people beyond M and frames beyond T; each by clip with what it had."""

INSPECT_BYTES: Final = 2**30
"""Largest array that is inspected at once; a larger one takes minutes, and the report says how to do it."""


def import_data(request: ImportRequest) -> dict[str, Any]:
    """Write the array, labels and label map where classes are known, and a manifest of what was left out.

    A split that is imported again is replaced. One clip is in memory at a time, but for a pickle, which is read whole.

    Returns:
        JSON-able: `format`, `files`, `shape`, `rule`, `spec` (what a spec file needs), `dropped` (counts and first
        names; the manifest has all), `warnings` and `suggested` as `inspect` gives them.

    Raises:
        BadRequest: the format cannot be told, or an option does not fit it.
        NotFound: the source or the label file does not exist.
        BadData: a file cannot be read, or clips do not go together; nothing has been written then.
        OSError: the folder cannot be written.
    """
    name, chosen = choose(request)
    if request.out.resolve() == request.source.resolve():
        raise BadRequest("--out is the folder of the recordings itself", fix="give a folder of its own to --out")
    form = FORMATS[name]
    split = _split_name(request)
    clips = form.read(request)
    first = next(clips, None)
    if first is None:
        raise bad(request.source, "has no clip of this split", "choose another split or folder")
    made = _Split(request, first.layout)
    files = {kind: request.out / f"{split}_{kind}" for kind in ("data.npy", "label.pkl", "manifest.json")}
    write_with(files["data.npy"], lambda stream: made.write(chain([first], clips), stream))
    facts = {"format": {"name": name, "chosen": chosen}, "rule": form.rule, "layout": made.layout, "shape": made.shape}
    written = [files["data.npy"], *_write_labels(made, files["label.pkl"]), files["manifest.json"]]
    write_json(files["manifest.json"], {"source": str(request.source), **facts, "dropped": made.dropped})
    return {
        **facts,
        "files": [str(file) for file in written],
        "spec": made.spec(),
        "dropped": {
            kind: {"count": len(found), "first": list(found)[:EXAMPLES]} for kind, found in made.dropped.items()
        },
        **_inspected(files["data.npy"], files["label.pkl"] if made.labelled else None),
    }


def _split_name(request: ImportRequest) -> str:
    """What the files are called after: the split, else the source."""
    name = request.split or re.sub(r"[^\w.-]", "_", request.source.resolve().stem)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadRequest(f"--split {name!r} cannot begin a file name", fix="use letters, digits, '_', '-' and '.'")
    return name


@dataclass
class _Split:
    """What becomes of the clips of one split."""

    request: ImportRequest
    layout: str
    names: list[str] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in DROPPED})

    def __post_init__(self) -> None:
        layout, request = LAYOUTS[self.layout], self.request
        self.frames = _bounded("frames", request.frames, layout.frames, FRAMES_LIMIT)
        self.persons = _bounded("persons", request.persons, layout.persons, PEOPLE_KEPT)
        self.joints = layout.joints
        self.given = read_label_file(request.labels) if request.labels else None
        self.classes = Classes(request.out / "label_map.json")

    @property
    def shape(self) -> list[int]:
        """Of the array: (N, C, T, V, M)."""
        return [len(self.names), 3, self.frames, self.joints, self.persons]

    @property
    def labelled(self) -> bool:
        """Whether the classes of the clips are known: of all, or of none."""
        return self.ids[0] is not None

    def spec(self) -> dict[str, Any]:
        """What a spec file for these data has to say."""
        classes = {"dataset": {"num_classes": self.classes.count}} if self.labelled else {}
        return {"model": {"graph_layout": self.layout}} | classes

    def write(self, clips: Iterable[Clip], stream: IO[bytes]) -> None:
        """Write the array, a clip at a time; the header is written again once the number of clips is known."""
        self._header(stream)
        begin = stream.tell()
        for clip in clips:
            x_CTVM = self._fitted(clip)
            if x_CTVM.any():
                self._enter(clip)
                stream.write(x_CTVM.tobytes())
            else:
                self.dropped["empty_clips"][clip.name] = clip.x_CTVP.shape[1]
        self._check()
        stream.seek(0)
        self._header(stream)
        if stream.tell() != begin:
            raise AssertionError("NumPy keeps room in the header for the number of sequences")

    def _header(self, stream: IO[bytes]) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(self.shape)}
        np.lib.format.write_array_header_1_0(stream, header)

    def _fitted(self, clip: Clip) -> NDArray[np.float32]:
        """(3, T, V, M): the first frames and best people of a clip, zero-padded."""
        if clip.layout != self.layout:
            problem = f"has the joints of {clip.layout}, but the clips before it those of {self.layout}"
            raise bad(clip.place, problem, "import each skeleton on its own")
        part_CTVP = clip.x_CTVP[:, : self.frames, :, : self.persons]
        x_CTVM = np.zeros(self.shape[1:], dtype="<f4")
        with np.errstate(over="ignore"):
            x_CTVM[:, : part_CTVP.shape[1], :, : part_CTVP.shape[3]] = part_CTVP
        if not np.isfinite(x_CTVM).all():
            _, frame, joint, _ = np.argwhere(~np.isfinite(x_CTVM))[0]
            problem = f"frame {frame}, joint {joint} is too large for a float32"
            raise bad(clip.place, problem, "repair the clip or take it out")
        return x_CTVM

    def _enter(self, clip: Clip) -> None:
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
        if self.given is None:
            return clip.label
        if clip.name not in self.given:
            fix = "add it to the label file, or take the clip out"
            raise bad(clip.place, f"clip {clip.name!r} is not in {self.request.labels}", fix)
        return self.given[clip.name]

    def _check(self) -> None:
        """What can be known only at the end.

        Raises:
            BadData: no clip is left, two have one name, or some have a class and some none.
        """
        source = self.request.source
        if not self.names:
            raise bad(source, f"all {len(self.dropped['empty_clips'])} clips are empty", "give clips that show people")
        ((name, times),) = Counter(self.names).most_common(1)
        if times > 1:
            raise bad(source, f"{times} clips are named {name!r}", "give every clip a name of its own")
        if None in self.ids and any(number is not None for number in self.ids):
            unlabelled = self.names[self.ids.index(None)]
            problem = f"clip {unlabelled!r} has no class, but others have one"
            raise bad(source, problem, "give --labels with every clip, or take it out")
        self.classes.label_map()


def _bounded(option: str, given: int | None, default: int, limit: int) -> int:
    if given is not None and not 1 <= given <= limit:
        raise BadRequest(f"--{option} is {given}, accepted: 1 to {limit}", fix=f"leave it out for {default}")
    return given or default


def _write_labels(made: _Split, file: Path) -> list[Path]:
    """The label file and label map; without classes, an earlier import's labels of this split go."""
    if not made.labelled:
        file.unlink(missing_ok=True)
        return []
    write_with(file, lambda stream: pickle.dump([made.names, made.ids], stream, protocol=2))
    write_json(made.classes.file, made.classes.label_map())
    return [file, made.classes.file]


def _inspected(data: Path, labels: Path | None) -> dict[str, Any]:
    """What `inspect` finds, where that is quick."""
    if data.stat().st_size > INSPECT_BYTES:
        later = f"tao-skill data inspect {data} {labels or ''}".rstrip()
        return {"warnings": [f"the array is large and was not inspected: run {later}"], "suggested": {}}
    report = inspect(data, labels)
    return {"warnings": report["warnings"], "suggested": report["suggested"]}
