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

    format: Annotated[str | None, Param("Guessed where the source is plain.", choices=FORMAT_NAMES)] = None
    split: Annotated[
        str | None,
        Param("Name of the files; pyskl and ntu (xsub_train, xview_val, ...) take that split's clips."),
    ] = None

    frames: Annotated[int | None, Param("T; later frames are left out. The layout's when not given.")] = None
    persons: Annotated[int | None, Param("M, 1 to 5; the best people of each frame. The layout's when not given.")] = (
        None
    )
    width: Annotated[float | None, Param("Of the picture in pixels, if the source lacks it.", above=0)] = None
    height: Annotated[float | None, Param("Of the picture in pixels, if the source lacks it.", above=0)] = None
