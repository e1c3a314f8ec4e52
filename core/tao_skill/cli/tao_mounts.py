"""The mounts file of TAO's launcher: paths in its containers as paths of this machine, and its environment variables.

Only `tao-skill tao` reads it. Values of variables may be secret and are never shown.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tao_skill.cli.terminal.output import note
from tao_skill.errors import BadData, BadRequest, NotFound
from tao_skill.io.strict_json import read_json
from tao_skill.model import Model
from tao_skill.spec import load
from tao_skill.spec.tree import iter_params, lookup

FILE: Final = ".tao_mounts.json"
"""Name of the launcher's file in the home directory."""

_WHAT: Final = "a mounts file of TAO's launcher"
_FIX: Final = (
    'write {"Mounts": [{"source": DIRECTORY, "destination": CONTAINER_PATH}],'
    ' "Envs": [{"variable": NAME, "value": TEXT}]}, or name another file with --mounts'
)
_NAME: Final = re.compile(r"[^\s=]+")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A directory or file of this machine, and its absolute path in the container."""

    source: str
    destination: str


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file's format; `Envs` is checked apart, as errors must not show its values."""

    Mounts: tuple[Mount, ...] = ()
    Envs: Any = None
    DockerOptions: Any = None


@dataclass(frozen=True, kw_only=True)
class LauncherConfig:
    """What a mounts file says.

    Attributes:
        environment: variables by name. has_docker_options: the file has options of Docker, which nothing here uses.
    """

    file: Path
    mounts: Sequence[Mount]
    environment: Mapping[str, str]
    has_docker_options: bool

    def local_path(self, path: str) -> str:
        """A container path as a path of this machine; any other path as it is.

        Raises:
            BadRequest: the source of its mount is relative or does not exist.
        """
        mount = self._mount(path)
        if mount is None:
            return path
        return str(self._source(mount) / _normalized(path).relative_to(_normalized(mount.destination)))

    def local_spec(self, model: Model, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The spec with container paths replaced, in every key that names a file or folder, and the paths it had.

        Raises:
            BadRequest: the source of a mount that is used is relative or does not exist.
        """
        leaves = (leaf for leaf in iter_params(model.config) if leaf.param.reads_file or leaf.param.writes)
        found = ((leaf.key, lookup(values, leaf.key)) for leaf in leaves)
        paths = {key: value for key, value in found if isinstance(value, str) and self._mount(value)}
        local = load.override(model.config, values, [(key, self.local_path(path)) for key, path in paths.items()])
        return local, [*paths.values()]

    def summary(self, paths: Iterable[str]) -> str:
        """One line for people: which mounts these paths are in, and which variables are set."""
        used = Counter(mount for mount in map(self._mount, paths) if mount)
        facts = [
            f"{mount.destination} -> {self._source(mount)} ({count} path{'' if count == 1 else 's'})"
            for mount, count in used.items()
        ] or ["no path of this command is in a mount"]
        facts += [f"environment: {', '.join(self.environment)}"] if self.environment else []
        facts += ["DockerOptions are ignored"] if self.has_docker_options else []
        return f"mounts: {self.file}: {', '.join(facts)}"

    def _mount(self, path: str) -> Mount | None:
        """The mount with the longest destination that holds an absolute path."""
        if not path.startswith("/"):
            return None
        place = _normalized(path)
        holding = [mount for mount in self.mounts if place.is_relative_to(_normalized(mount.destination))]
        return max(holding, key=lambda mount: len(_normalized(mount.destination).parts), default=None)

    def _source(self, mount: Mount) -> Path:
        with suppress(OSError, RuntimeError):  # a name that is too long; no such user
            source = Path(mount.source).expanduser()
            if source.is_absolute() and source.exists():
                return source
        fault = "does not exist" if mount.source.startswith(("/", "~")) else "is not an absolute path"
        raise BadRequest(
            f"{self.file} mounts {mount.source!r} as {mount.destination}, but this source {fault}",
            fix=f"create the directory, or correct the source of {mount.destination} in {self.file}",
            path=str(self.file),
        )


def find(given: Path | None) -> LauncherConfig | None:
    """The mounts file of a call, else that of the home directory if there is one.

    Raises:
        NotFound: the file that was given does not exist.
        BadData: it is not a mounts file.
    """
    chosen = given or _usual_file()
    return read(chosen) if chosen else None


def read(path: Path) -> LauncherConfig:
    """Read a mounts file.

    Raises:
        NotFound: it does not exist.
        BadData: it is not a mounts file.
    """
    if not path.exists():
        raise NotFound(f"no mounts file {path}", fix="give the path of an existing JSON file", path=str(path))
    found: _File = read_json(path, _File, what=_WHAT, fix=_FIX)
    try:
        _check(found.Mounts)
        environment = dict(_variables(found.Envs))
    except ValueError as error:
        raise BadData(f"{path} is not {_WHAT}: {error}", fix=_FIX, path=str(path)) from error
    return LauncherConfig(
        file=path,
        mounts=found.Mounts,
        environment=environment,
        has_docker_options=bool(found.DockerOptions),
    )


def adapter(config: LauncherConfig, model: Model, spec: Path) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What replaces the container paths of a spec, and says on stderr what was done; `spec` is its path as given."""

    def adapt(values: Mapping[str, Any]) -> dict[str, Any]:
        local, paths = config.local_spec(model, values)
        note(config.summary([str(spec), *paths]))
        return local

    return adapt


def _usual_file() -> Path | None:
    with suppress(RuntimeError):  # the user has no home directory
        path = Path.home() / FILE
        return path if path.exists() else None
    return None


def _check(mounts: Sequence[Mount]) -> None:
    for index, mount in enumerate(mounts):
        if not mount.destination.startswith("/"):
            raise ValueError(f"Mounts[{index}].destination is {mount.destination!r}, accepted: an absolute path")
    destinations = Counter(_normalized(mount.destination) for mount in mounts)
    if twice := [place for place, count in destinations.items() if count > 1]:
        raise ValueError(f"two Mounts have the destination {twice[0]}")


def _variables(entries: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(entries, list | None):
        raise ValueError("Envs is not a list")
    for index, entry in enumerate(entries or []):
        if not isinstance(entry, dict) or entry.keys() != {"variable", "value"}:
            raise ValueError(f'Envs[{index}] is not an object with "variable" and "value"')
        name, value = entry["variable"], entry["value"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"Envs[{index}].variable is not a name")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"the value of {name} in Envs is not text")
        yield name, str(value)


def _normalized(path: str) -> PurePosixPath:
    """An absolute path without `.`, `..` and repeated slashes."""
    return PurePosixPath(posixpath.normpath(f"/{path.lstrip('/')}"))
