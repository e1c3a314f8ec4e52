"""Where the files of a spec come from: local paths, S3 addresses, and folders of either kind."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadRequest, Fix, Option, Problem, TaoSkillError
from tao_skill.io.s3 import S3, RemoteObject, check_address, is_remote, join
from tao_skill.model import Model
from tao_skill.outcome import Advice
from tao_skill.runner import DataRequirement
from tao_skill.spec.check import is_blank
from tao_skill.spec.paths import remote_values
from tao_skill.spec.tree import iter_params, lookup

FOLDER: Final = "folder"
"""What a plan names as the origin of a value found in a folder."""

IsFile = Callable[[str], bool]
Describe = Callable[[str], RemoteObject | None]
"""Looks up an object on S3; None if there is no such object."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A file chosen in a folder, and why."""

    value: str
    reason: str


def address_problems(model: Model, action: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Addresses that cannot be read, and those where results would have to be written."""
    for leaf, value in remote_values(model.config, action, values):
        try:
            check_address(value)
        except BadRequest as error:
            yield Problem(key=leaf.key, message=f"{leaf.key}: {error.message}", fix=error.fix)
            continue
        if leaf.param.writes:
            yield Problem(
                key=leaf.key,
                message=f"{leaf.key} is {value!r}, but results are written to a local path",
                fix=Fix(f"leave {leaf.key} out and give ", Option("upload", "s3://BUCKET/PREFIX")),
            )


def missing_objects(model: Model, action: str, spec: Mapping[str, Any], describe: Describe) -> Advice:
    """Objects that are not there; what is there is checked once the job has a copy, and that is a warning."""
    keys = [(leaf.key, value) for leaf, value in remote_values(model.config, action, spec) if leaf.param.reads_file]
    problems = [
        Problem(
            key=key,
            message=f"{key} is {value!r}, and there is no such object",
            fix=f"set {key} to an existing object; check AWS_ENDPOINT_URL",
        )
        for key, value in keys
        if describe(value) is None
    ]
    later = f"on S3, so their content is checked when the job has fetched them: {', '.join(key for key, _ in keys)}"
    return Advice(problems=problems, warnings=[later] if keys and not problems else [])


def complete_folders(
    needs: Sequence[DataRequirement], values: Mapping[str, Any], is_file: IsFile
) -> tuple[dict[str, Completed], list[Problem]]:
    """Replace each folder by a file in it, and fill what is missing beside it from the same folder.

    Args:
        is_file: whether a path or address is that of a file.
    """
    completed: dict[str, Completed] = {}
    problems: list[Problem] = []
    lent: str | None = None
    for _, group in groupby(needs, key=lambda need: need.section):
        section = _Section(tuple(group), values, is_file)
        if section.folder is not None:
            found, missing = section.complete(section.folder)
            lent = lent or section.folder
        else:
            found, missing = section.borrow(lent), []
        completed |= found
        problems += missing
    return completed, problems


def actual_checkpoints(model: Model, action: str, values: Mapping[str, Any]) -> dict[str, Completed]:
    """The local checkpoints that are named without their step, each with the file that it means."""
    completed: dict[str, Completed] = {}
    for leaf in iter_params(model.config, action):
        value = lookup(values, leaf.key)
        if leaf.param.checkpoint and isinstance(value, str) and not is_blank(value) and not is_remote(value):
            given = Path(value).absolute()
            if (found := model.actual_checkpoint(given)) != given:
                reason = f"{given.name} stands for {found.name}, the newest of that epoch"
                completed[leaf.key] = Completed(value=str(found), reason=reason)
    return completed


def object_lookup(environment: Mapping[str, str], upload: str | None) -> Describe:
    """What describes remote objects, each once; a bucket that shall be written to has to be there now."""
    s3 = S3(environment)
    if upload is not None:
        _check_upload(s3, upload)

    @functools.cache
    def describe(uri: str) -> RemoteObject | None:
        from tao_skill.io import s3_cache

        return s3_cache.describe(uri, s3_cache.cache_root(environment), s3)

    return describe


def _check_upload(s3: S3, prefix: str) -> None:
    try:
        s3.require_bucket(prefix)
    except TaoSkillError as error:
        raise type(error)(f"upload: {error.message}", fix=error.fix, path=error.path) from error


def unwritable(model: Model, action: str, spec: Mapping[str, Any], inferred: Container[str]) -> Iterator[Problem]:
    """Places that the action could not write to; without a key that was not `inferred`, results go elsewhere."""
    for leaf in iter_params(model.config, action):
        value = lookup(spec, leaf.key) if leaf.param.writes else None
        if not value:
            continue
        standing = next(place for place in (Path(value), *Path(value).parents) if place.exists())
        if not os.access(standing, os.W_OK) or (standing != Path(value) and not standing.is_dir()):
            omit = "" if leaf.key in inferred else f"leave {leaf.key} out, or "
            yield Problem(
                key=leaf.key,
                message=f"{leaf.key} is {value!r}, but {standing} is no folder that can be written",
                fix=f"{omit}set {leaf.key} to a place that can be written",
            )


class _Section:
    """The files of one section of a spec, that belong together: sequences and their labels."""

    def __init__(self, needs: tuple[DataRequirement, ...], values: Mapping[str, Any], is_file: IsFile) -> None:
        self.needs = needs
        self.is_file = is_file
        self.given = {need.key: lookup(values, need.key) for need in needs if not is_blank(lookup(values, need.key))}
        self.folders = {key: _absolute(value) for key, value in self.given.items() if self._is_folder(value)}
        self.folder = next(iter(self.folders.values()), None)

    def complete(self, folder: str) -> tuple[dict[str, Completed], list[Problem]]:
        """Every key that was given as a folder, or not given, from files of one and the same position."""
        position = self._position(folder)
        if position is None:
            return {}, [self._absent(next(need for need in self.needs if need.key in self.folders))]
        completed: dict[str, Completed] = {}
        problems: list[Problem] = []
        for need in self.needs:
            if need.key in self.given and need.key not in self.folders:
                continue
            path = join(self.folders.get(need.key, folder), need.files[position])
            if self.is_file(path):
                completed[need.key] = Completed(value=path, reason=self._reason(need, position))
            elif need.required or need.key in self.folders:
                problems.append(self._absent(need, position))
        return completed, problems

    def borrow(self, folder: str | None) -> dict[str, Completed]:
        """Optional files of which nothing was given, from the folder of other data, if all of them are there."""
        if folder is None or self.given or any(need.required for need in self.needs):
            return {}
        paths = {need.key: join(folder, need.files[0]) for need in self.needs}
        if not all(self.is_file(path) for path in paths.values()):
            return {}
        return {key: Completed(value=path, reason=f"it lies in {folder} too") for key, path in paths.items()}

    def _position(self, folder: str) -> int | None:
        """The place, in the lists of names, of a file that was given, else of the first that the folder has."""
        for need in self.needs:
            name = str(self.given.get(need.key, "")).rsplit("/", 1)[-1]
            if need.key not in self.folders and name in need.files:
                return need.files.index(name)
        leading = next(need for need in self.needs if need.key in self.folders)
        names = [join(folder, name) for name in leading.files]
        return next((place for place, path in enumerate(names) if self.is_file(path)), None)

    def _is_folder(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if not is_remote(value):
            return Path(value).is_dir()
        return value.endswith("/") or not self.is_file(value)

    def _reason(self, need: DataRequirement, position: int) -> str:
        first = self.needs[0]
        if need is first:
            return f"first of {', '.join(need.files)} in the folder"
        return f"goes with {first.files[position]} in the folder"

    def _absent(self, need: DataRequirement, position: int | None = None) -> Problem:
        names = need.files if position is None else (need.files[position],)
        folder = self.folders.get(need.key, self.folder)
        return Problem(
            key=need.key,
            message=f"{need.key}: {folder!r} is no file, and no folder with {' or '.join(names)}",
            fix=f"set {need.key} to a file, or put {names[0]} there",
        )


def _absolute(folder: str) -> str:
    return folder.rstrip("/") if is_remote(folder) else str(Path(folder).absolute())
