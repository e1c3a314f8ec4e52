"""Options of an import of recordings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from tao_skill.outcome import ImportRequest
from tao_skill.spec.param import Param

FORMAT_NAMES: Final = ("kinetics", "ntu", "pyskl", "openpose")


@dataclass(frozen=True, kw_only=True)
class RecordingImport(ImportRequest):
    """Recordings to turn into sequences (N, C, T, V, M)."""

    format: Annotated[
        str | None, Param("Format of the recordings; default: detected from the file names.", choices=FORMAT_NAMES)
    ] = None
    split: Annotated[
        str | None,
        Param("Name of the files; pyskl and ntu (xsub_train, xview_val, ...) take that split's clips."),
    ] = None

    frames: Annotated[int | None, Param("Frames (T); later frames are dropped. Default: those of the layout.")] = None
    persons: Annotated[
        int | None, Param("Persons (M), 1 to 5, the best-ranked people of each frame. Default: those of the layout.")
    ] = None
    width: Annotated[float | None, Param("Image width in pixels, if the source does not contain it.", above=0)] = None
    height: Annotated[float | None, Param("Image height in pixels, if the source does not contain it.", above=0)] = None
