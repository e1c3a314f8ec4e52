"""Convolutions along nine frames with five multiplications in place of nine, by Winograd's minimal filtering F(3, 3).

Three frames in a row are a tile, and nine taps are three groups of three. What a group makes of a tile are three sums
of five products, each of a sum of the tile's frames and the two that follow with a sum of the group's taps (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, section 4; for the points 0, 1, -1, 2 and
infinity). Groups look at tiles that follow each other and share their sums of frames, so what is left are five
convolutions along three tiles.

Tensors lie channels last, so that a frame is one row of memory. Errors of rounding are one and a half times those of
the plain convolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_KERNEL: Final = (9, 1)
_PADDING: Final = 4
_TILE: Final = 3
_TAPS: Final = 3
"""Tiles that a group of taps each looks at, and taps of a group."""
_BORDER: Final = 2
"""Tiles beyond a sequence's own that its last frames look at."""

WORTH: Final = 4096
"""Channels times frames from which on fewer multiplications save more time than the sums take."""

PART: Final = 1 << 20
"""Values of sequences that are added up at a time: few enough for the cache, and enough for few calls."""

_SUMS_OF_TAPS: Final = ((1 / 2, 0, 0), (1 / 2, 1 / 2, 1 / 2), (-1 / 6, 1 / 6, -1 / 6), (1 / 6, 1 / 3, 2 / 3), (0, 0, 1))
_OF_ALL_FRAMES: Final = 1
"""The product that each frame of a tile has once, and a bias with it."""


class _Place(NamedTuple):
    """Where a sequence lies, or several in a row: frames, tiles that are read and tiles that are written."""

    frames: slice
    read: slice
    written: slice


class _Part(NamedTuple):
    """What is added up at a time: sequences in a row, and where they lie together."""

    sequences: list[_Place]
    all: _Place


class _Tiles:
    """The tiles of a batch (N, C, T, V), or of sequences of several lengths that are the frames of one (1, C, F, V).

    Of the latter the convolutions run on from one sequence to the next, over tiles whose sums are of zeros or not used.
    """

    def __init__(self, x_NCTV: Tensor, lengths: tuple[int, ...] | None) -> None:
        self.images, channels, frames, self.joints = x_NCTV.shape
        self.frames = self.images * frames
        each = lengths or (frames,) * self.images
        counts = [_count(t) for t in each]
        borders = [_BORDER] * len(each)
        if lengths:  # where the last tile is not full, its last frame alone would look at the second tile
            borders[:-1] = [1 if t % _TILE else _BORDER for t in lengths[:-1]]
        starts = _slices(each)
        read = _slices(map(add, counts, borders))
        written = read if lengths else _slices(counts)
        self.read, self.written = read[-1].stop, read[-1].stop - _BORDER * self.images
        self.places = [_Place(*slices) for slices in zip(starts, read, written, strict=True)]
        size = max(PART // (max(each) * channels * self.joints), 1)
        self.parts = [_together(self.places[i : i + size]) for i in range(0, len(self.places), size)]

    def image(self, rows: Tensor) -> Tensor:
        """(frames or tiles, V C) -> (N, C, T, V)."""
        return rows.view(self.images, -1, self.joints, rows.shape[1] // self.joints).permute(0, 3, 1, 2)


def _count(frames: int) -> int:
    """Tiles that hold a sequence; the last may not be full."""
    return -(-frames // _TILE)


def _slices(lengths: Iterable[int]) -> list[slice]:
    """Of what follows each other."""
    ends = list(accumulate(lengths, initial=0))
    return [slice(*ends[i : i + 2]) for i in range(len(ends) - 1)]


def _together(places: list[_Place]) -> _Part:
    ends = zip(places[0], places[-1], strict=True)
    return _Part(places, _Place(*(slice(first.start, last.stop) for first, last in ends)))


def pays(x_NCTV: Tensor, weight: Tensor, stride: tuple[int, ...], lengths: tuple[int, ...] | None) -> bool:
    """Whether `convolve` does what a convolution with this weight and stride, padded by 4, does, and sooner."""
    n, channels, frames, _ = x_NCTV.shape
    sequences = len(lengths) if lengths else 1
    return (
        weight.shape[2:] == _KERNEL
        and stride == (1, 1)
        and x_NCTV.device.type == "cpu"
        and x_NCTV.dtype in {torch.float32, torch.float64}
        and not torch.is_autocast_enabled("cpu")
        and channels * frames >= WORTH * sequences
        and n > 0
    )


def convolve(x_NCTV: Tensor, weight: Tensor, bias: Tensor | None, lengths: tuple[int, ...] | None = None) -> Tensor:
    """(N, C_in, T, V) -> (N, C_out, T, V), padded with zeros; has no gradient.

    `weight` is (C_out, C_in, 9, 1), `lengths` those of sequences that are the frames of one, (1, C_in, F, V).
    """
    tiles = _Tiles(x_NCTV, lengths)
    products = [
        F.conv2d(tiles.image(read), taps, bias if i == _OF_ALL_FRAMES else None)
        for i, (read, taps) in enumerate(zip(_read(x_NCTV, tiles), _sums_of_taps(weight), strict=True))
    ]
    return _written(products, tiles)


def gradients(
    grad_NCTV: Tensor, x_NCTV: Tensor, weight: Tensor, lengths: tuple[int, ...] | None = None, *, of_x: bool = True
) -> tuple[Tensor | None, Tensor]:
    """Gradients of what `convolve` was given, by that of what it returned; None for `x` unless asked for."""
    tiles = _Tiles(x_NCTV, lengths)
    grads = _written_back(grad_NCTV, tiles)
    to_x = _to_frames(grads, weight, tiles) if of_x else None
    return to_x, _to_weight(_read(x_NCTV, tiles), grads, tiles)


def _to_frames(grads: Tensor, weight: Tensor, tiles: _Tiles) -> Tensor:
    """(N, C_in, T, V) by gradients of products."""
    sums = zip(grads, _sums_of_taps(weight), strict=True)
    return _read_back([F.conv_transpose2d(tiles.image(grad), taps) for grad, taps in sums], tiles)


def _to_weight(read: Tensor, grads: Tensor, tiles: _Tiles) -> Tensor:
    """(C_out, C_in, 9, 1) by sums of tiles and gradients of products.

    A gradient of a convolution's weights takes oneDNN up to twice as long as these matrix products.
    """
    inputs, out = (rows.shape[2] // tiles.joints for rows in (read, grads))
    sums = read.new_zeros(len(read), _TAPS, out, inputs)
    for place in tiles.places:
        start, count = place.read.start, _count(place.frames.stop - place.frames.start)
        to_own = grads[:, place.written][:, :count].view(len(grads), -1, out).transpose(1, 2)
        for i in range(_TAPS):
            sums[:, i].baddbmm_(to_own, read[:, start + i : start + i + count].view(len(read), -1, inputs))
    taps = sums.new_tensor(_SUMS_OF_TAPS).t() @ sums.view(len(sums), -1)
    return taps.view(_TAPS, _TAPS, out, inputs).permute(2, 3, 1, 0).reshape(out, inputs, *_KERNEL)


def _rows(x_NCTV: Tensor) -> Tensor:
    """(N, C, T, V) -> (N T, V C)."""
    n, c, t, v = x_NCTV.shape
    return x_NCTV.permute(0, 2, 3, 1).reshape(n * t, v * c)


def _read(x_NCTV: Tensor, tiles: _Tiles) -> Tensor:
    """(5, tiles, V C): sums of each tile's frames a, b, c and the following d, e."""
    rows = _rows(x_NCTV)
    width = rows.shape[1]
    sums = rows.new_empty(5, tiles.read, width)
    for part in tiles.parts:
        s0, s1, s2, s3, s4 = sums[:, part.all.read]
        padded = rows.new_zeros(len(s0) + 1, _TILE, width)
        for own, place in _own(padded, part, "read", _PADDING):
            own.copy_(rows[place.frames])
        a, b, c = padded[:-1].unbind(1)
        d, e, _ = padded[1:].unbind(1)
        torch.sub(d, b, out=s3)
        torch.sub(a, c, out=s0).mul_(2).add_(s3)
        torch.add(b, c, out=s1).sub_(s3)
        torch.sub(b, c, out=s2).mul_(3).add_(s3)
        torch.sub(e, c, out=s4).sub_(s3, alpha=2)
    return sums


def _read_back(grads: Sequence[Tensor], tiles: _Tiles) -> Tensor:
    """Gradient of the frames by those of the sums."""
    sums = [_rows(grad) for grad in grads]
    width = sums[0].shape[1]
    rows = sums[0].new_empty(tiles.frames, width)
    for part in tiles.parts:
        s0, s1, s2, s3, s4 = (one[part.all.read] for one in sums)
        padded = rows.new_empty(len(s0) + 1, _TILE, width)
        padded[-1].zero_()
        a, b, c = padded[:-1].unbind(1)
        d, e, _ = padded[1:].unbind(1)
        to_d = torch.sub(s0, s1).add_(s2).add_(s3).sub_(s4, alpha=2)
        torch.mul(s0, 2, out=a)
        torch.add(s1, s2, alpha=3, out=b).sub_(to_d)
        torch.sub(s1, s0, alpha=2, out=c).sub_(s2, alpha=3).sub_(s4)
        d.add_(to_d)
        e.add_(s4)
        for own, place in _own(padded, part, "read", _PADDING):
            rows[place.frames] = own
    return tiles.image(rows)


def _written(products: Sequence[Tensor], tiles: _Tiles) -> Tensor:
    """The frames a, b, c of each tile from its five products."""
    sums = [_rows(product) for product in products]
    width = sums[0].shape[1]
    rows = sums[0].new_empty(tiles.frames, width)
    for part in tiles.parts:
        s0, s1, s2, s3, s4 = (one[part.all.written] for one in sums)
        own = rows[part.all.frames]
        full = len(own) == _TILE * len(s0)
        written = own.view(-1, _TILE, width) if full else rows.new_empty(len(s0), _TILE, width)
        a, b, c = written.unbind(1)
        torch.sub(s1, s2, out=b).add_(s3, alpha=2)
        torch.add(s1, s2, out=c)
        torch.add(s0, s3, out=a).add_(c)
        c.add_(s3, alpha=4).add_(s4)
        if not full:
            for own, place in _own(written, part, "written"):
                rows[place.frames] = own
    return tiles.image(rows)


def _written_back(grad_NCTV: Tensor, tiles: _Tiles) -> Tensor:
    """(5, tiles, V C): gradients of the products by those of the frames; 0 of what was not used."""
    rows = _rows(grad_NCTV)
    width = rows.shape[1]
    sums = rows.new_empty(5, tiles.written, width)
    for part in tiles.parts:
        s0, s1, s2, s3, s4 = sums[:, part.all.written]
        written = rows[part.all.frames]
        if len(written) != _TILE * len(s0):
            written = rows.new_zeros(len(s0) * _TILE, width)
            for own, place in _own(written, part, "written"):
                own.copy_(rows[place.frames])
        a, b, c = written.view(-1, _TILE, width).unbind(1)
        s0.copy_(a)
        torch.add(a, c, out=s1)
        torch.sub(s1, b, out=s2)
        s1.add_(b)
        torch.add(a, b, alpha=2, out=s3).add_(c, alpha=4)
        s4.copy_(c)
    return sums


def _own(tiles: Tensor, part: _Part, which: str, padding: int = 0) -> Iterator[tuple[Tensor, _Place]]:
    """The frames of each sequence among the tiles of a part."""
    frames = tiles.view(-1, tiles.shape[-1])
    first = getattr(part.all, which).start
    for place in part.sequences:
        at = _TILE * (getattr(place, which).start - first) + padding
        yield frames[at : at + place.frames.stop - place.frames.start], place


def _sums_of_taps(weight: Tensor) -> list[Tensor]:
    """(C_out, C_in, 9, 1) -> five times (C_out, C_in, 3, 1)."""
    out, inputs = weight.shape[:2]
    taps = weight.view(out, inputs, _TAPS, _TAPS).permute(3, 0, 2, 1).reshape(_TAPS, -1)
    sums = weight.new_tensor(_SUMS_OF_TAPS) @ taps
    return [one.view(out, _TAPS, 1, inputs).permute(0, 3, 1, 2) for one in sums]
