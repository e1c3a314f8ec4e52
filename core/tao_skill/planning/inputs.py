"""The input files of a spec: local paths, S3 addresses, and folders of either kind."""

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
"""The `by` entry, in a plan, of a file chosen in a folder."""

IsFile = Callable[[str], bool]
ObjectLookup = Callable[[str], RemoteObject | None]
"""Looks up an object on S3 by its address; None if it does not exist."""


@dataclass(frozen=True, kw_only=True)
class ChosenFile:
    """A file chosen for a spec key, and the reason."""

    value: str
    reason: str


def address_problems(model: Model, action: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find invalid S3 addresses, and S3 addresses of results, which are written to local paths only."""
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


def missing_objects(model: Model, action: str, spec: Mapping[str, Any], look_up: ObjectLookup) -> Advice:
    """Report missing objects as problems; warn that other objects are checked when the job has fetched them."""
    keys = [(leaf.key, value) for leaf, value in remote_values(model.config, action, spec) if leaf.param.reads_file]
    problems = [
        Problem(
            key=key,
            message=f"{key} is {value!r}, and there is no such object",
            fix=f"set {key} to an existing object; check AWS_ENDPOINT_URL",
        )
        for key, value in keys
        if look_up(value) is None
    ]
    warning = f"on S3, so their content is checked when the job has fetched them: {', '.join(key for key, _ in keys)}"
    return Advice(problems=problems, warnings=[warning] if keys and not problems else [])


def complete_folders(
    needs: Sequence[DataRequirement], values: Mapping[str, Any], is_file: IsFile
) -> tuple[dict[str, ChosenFile], list[Problem]]:
    """Choose a file for each folder, and the missing files of its section from the same folder.

    Args:
        is_file: whether a path or address names a file.

    Returns:
        Chosen files by spec key, and a problem for each missing file.
    """
    chosen: dict[str, ChosenFile] = {}
    problems: list[Problem] = []
    first_folder: str | None = None
    for _, group in groupby(needs, key=lambda need: need.section):
        section = _Section(tuple(group), values, is_file)
        if section.folder is not None:
            files, missing = section.complete(section.folder)
            first_folder = first_folder or section.folder
        else:
            files, missing = section.borrow(first_folder), []
        chosen |= files
        problems += missing
    return chosen, problems


def actual_checkpoints(model: Model, action: str, values: Mapping[str, Any]) -> dict[str, ChosenFile]:
    """Choose the files of local checkpoints whose names lack the step."""
    chosen: dict[str, ChosenFile] = {}
    for leaf in iter_params(model.config, action):
        value = lookup(values, leaf.key)
        if leaf.param.checkpoint and isinstance(value, str) and not is_blank(value) and not is_remote(value):
            path = Path(value).absolute()
            if (actual := model.actual_checkpoint(path)) != path:
                reason = f"{path.name} stands for {actual.name}, the newest of that epoch"
                chosen[leaf.key] = ChosenFile(value=str(actual), reason=reason)
    return chosen


def object_lookup(environment: Mapping[str, str], upload: str | None) -> ObjectLookup:
    """Return a cached lookup of S3 objects; the bucket of `upload` must exist."""
    s3 = S3(environment)
    if upload is not None:
        _check_upload(s3, upload)

    @functools.cache
    def look_up(uri: str) -> RemoteObject | None:
        from tao_skill.io import s3_cache

        return s3_cache.describe(uri, s3_cache.cache_root(environment), s3)

    return look_up


def _check_upload(s3: S3, prefix: str) -> None:
    try:
        s3.require_bucket(prefix)
    except TaoSkillError as error:
        raise type(error)(f"upload: {error.message}", fix=error.fix, path=error.path) from error


def unwritable_paths(model: Model, action: str, spec: Mapping[str, Any], inferred: Container[str]) -> Iterator[Problem]:
    """Find output paths that cannot be written.

    Args:
        inferred: inferred spec keys; the fix for any other key suggests to leave it out.
    """
    for leaf in iter_params(model.config, action):
        value = lookup(spec, leaf.key) if leaf.param.writes else None
        if not value:
            continue
        existing = next(path for path in (Path(value), *Path(value).parents) if path.exists())
        if not os.access(existing, os.W_OK) or (existing != Path(value) and not existing.is_dir()):
            omit = "" if leaf.key in inferred else f"leave {leaf.key} out, or "
            yield Problem(
                key=leaf.key,
                message=f"{leaf.key} is {value!r}, but {existing} is not a writable directory",
                fix=f"{omit}set {leaf.key} to a writable path",
            )


class _Section:
    """The files of a spec section, which belong together: sequences and their labels."""

    def __init__(self, needs: tuple[DataRequirement, ...], values: Mapping[str, Any], is_file: IsFile) -> None:
        self.needs = needs
        self.is_file = is_file
        self.given = {need.key: lookup(values, need.key) for need in needs if not is_blank(lookup(values, need.key))}
        self.folders = {key: _absolute(value) for key, value in self.given.items() if self._is_folder(value)}
        self.folder = next(iter(self.folders.values()), None)

    def complete(self, folder: str) -> tuple[dict[str, ChosenFile], list[Problem]]:
        """Choose a file for every key that is missing or a folder, all at the same position of their lists of names."""
        position = self._position(folder)
        if position is None:
            return {}, [self._missing_file(next(need for need in self.needs if need.key in self.folders))]
        chosen: dict[str, ChosenFile] = {}
        problems: list[Problem] = []
        for need in self.needs:
            if need.key in self.given and need.key not in self.folders:
                continue
            path = join(self.folders.get(need.key, folder), need.files[position])
            if self.is_file(path):
                chosen[need.key] = ChosenFile(value=path, reason=self._reason(need, position))
            elif need.required or need.key in self.folders:
                problems.append(self._missing_file(need, position))
        return chosen, problems

    def borrow(self, folder: str | None) -> dict[str, ChosenFile]:
        """Choose optional files, if no key is given, from the folder of another section, if all of them exist."""
        if folder is None or self.given or any(need.required for need in self.needs):
            return {}
        paths = {need.key: join(folder, need.files[0]) for need in self.needs}
        if not all(self.is_file(path) for path in paths.values()):
            return {}
        return {key: ChosenFile(value=path, reason=f"also in {folder}") for key, path in paths.items()}

    def _position(self, folder: str) -> int | None:
        """The position, in the lists of names, of a given file, else of the first file that exists in the folder."""
        for need in self.needs:
            name = str(self.given.get(need.key, "")).rsplit("/", 1)[-1]
            if need.key not in self.folders and name in need.files:
                return need.files.index(name)
        folder_need = next(need for need in self.needs if need.key in self.folders)
        paths = [join(folder, name) for name in folder_need.files]
        return next((position for position, path in enumerate(paths) if self.is_file(path)), None)

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

    def _missing_file(self, need: DataRequirement, position: int | None = None) -> Problem:
        names = need.files if position is None else (need.files[position],)
        folder = self.folders.get(need.key, self.folder)
        return Problem(
            key=need.key,
            message=f"{need.key}: {folder!r} is neither a file nor a folder with {' or '.join(names)}",
            fix=f"set {need.key} to a file, or add {names[0]} to the folder",
        )


def _absolute(folder: str) -> str:
    return folder.rstrip("/") if is_remote(folder) else str(Path(folder).absolute())
