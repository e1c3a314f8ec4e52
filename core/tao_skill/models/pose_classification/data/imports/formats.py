"""The formats that can be imported, and how to detect the format of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path
from typing import Final

from tao_skill.errors import BadRequest, NotFound
from tao_skill.models.pose_classification.data.imports import kinetics, ntu, openpose, pyskl
from tao_skill.models.pose_classification.data.imports.clip import Clip
from tao_skill.models.pose_classification.data.imports.request import RecordingImport


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of recordings.

    Attributes:
        read: iterates over the clips of a source.
        rule: how coordinates are converted, in one sentence.
        patterns: file names of this format, except those that match `unless`.
    """

    read: Callable[[RecordingImport], Iterator[Clip]]
    rule: str
    patterns: tuple[str, ...]
    unless: str = ""

    def fits(self, source: Path) -> bool:
        """Whether a file, or a folder by one of its files, looks like this format."""
        folder, patterns = source, self.patterns
        if source.is_file():
            folder, patterns = source.parent, tuple(Path(pattern).name for pattern in patterns)
        files = chain.from_iterable(folder.glob(pattern) for pattern in patterns)
        return any(not fnmatch(file.name, self.unless) for file in files if source in (folder, file))


FORMATS: Final[Mapping[str, Format]] = {
    "kinetics": Format(read=kinetics.read, rule=kinetics.RULE, patterns=("*.json",), unless="*_keypoints.json"),
    "ntu": Format(read=ntu.read, rule=ntu.RULE, patterns=("*.skeleton",)),
    "pyskl": Format(read=pyskl.read, rule=pyskl.RULE, patterns=("*.pkl", "*.pickle")),
    "openpose": Format(read=openpose.read, rule=openpose.RULE, patterns=("**/*_keypoints.json",)),
}


def choose(request: RecordingImport) -> tuple[str, str]:
    """Name of the format, and the way it was chosen.

    Raises:
        BadRequest: the format is unknown, or the source does not match exactly one format.
        NotFound: the source does not exist.
    """
    source, accepted = request.source, "|".join(FORMATS)
    if request.format is not None and request.format not in FORMATS:
        raise BadRequest(f"there is no format {request.format!r}", fix=f"give --format {accepted}")
    if not source.exists():
        raise NotFound(f"there is no {source}", fix="check the path; relative paths start at the working directory")
    if request.format is not None:
        return request.format, "given"
    fitting = [name for name, candidate in FORMATS.items() if candidate.fits(source)]
    if len(fitting) != 1:
        problem = f"looks like {' and '.join(fitting)}" if fitting else "looks like none of the known formats"
        raise BadRequest(f"{source} {problem}", fix=f"give --format {accepted}", path=str(source))
    return fitting[0], f"guessed from {' or '.join(FORMATS[fitting[0]].patterns)}"
