"""The mounts file of TAO's launcher: maps container paths to local paths and sets environment variables.

Only `tao-skill tao` reads it. Values of variables may be secret and are never printed.
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
"""Name of the mounts file in the home directory."""

_KIND: Final = "a mounts file of TAO's launcher"
_FIX: Final = (
    'write {"Mounts": [{"source": DIRECTORY, "destination": CONTAINER_PATH}],'
    ' "Envs": [{"variable": NAME, "value": TEXT}]}, or name another file with --mounts'
)
_NAME: Final = re.compile(r"[^\s=]+")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A local directory or file, and its absolute path in the container."""

    source: str
    destination: str


@dataclass(frozen=True, kw_only=True)
class _File:
    """The format of the file; `Envs` is checked separately, because errors must not print its values."""

    Mounts: tuple[Mount, ...] = ()
    Envs: Any = None
    DockerOptions: Any = None


@dataclass(frozen=True, kw_only=True)
class LauncherConfig:
    """The content of a mounts file.

    Attributes:
        environment: variables by name. has_docker_options: whether the file has DockerOptions, which are ignored.
    """

    file: Path
    mounts: Sequence[Mount]
    environment: Mapping[str, str]
    has_docker_options: bool

    def local_path(self, path: str) -> str:
        """Map a container path to a local path; return any other path unchanged.

        Raises:
            BadRequest: the source of its mount is relative or does not exist.
        """
        mount = self._mount(path)
        if mount is None:
            return path
        return str(self._source(mount) / _normalized(path).relative_to(_normalized(mount.destination)))

    def local_spec(self, model: Model, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Map the container paths of a spec to local paths, and return the spec and the container paths in it.

        Raises:
            BadRequest: the source of a mount that is used is relative or does not exist.
        """
        pairs = ((leaf, lookup(values, leaf.key)) for leaf in iter_params(model.config))
        paths = {leaf.key: value for leaf, value in pairs if leaf.param.names_path(value) and self._mount(value)}
        local = load.override(model.config, values, [(key, self.local_path(path)) for key, path in paths.items()])
        return local, [*paths.values()]

    def summary(self, paths: Iterable[str]) -> str:
        """One line of text: the mounts that contain these paths, and the variables that are set."""
        used = Counter(mount for mount in map(self._mount, paths) if mount)
        facts = [
            f"{mount.destination} -> {self._source(mount)} ({count} path{'' if count == 1 else 's'})"
            for mount, count in used.items()
        ] or ["no path of this command is in a mount"]
        facts += [f"environment: {', '.join(self.environment)}"] if self.environment else []
        facts += ["DockerOptions are ignored"] if self.has_docker_options else []
        return f"mounts: {self.file}: {', '.join(facts)}"

    def _mount(self, path: str) -> Mount | None:
        """The mount with the longest destination that contains an absolute path."""
        if not path.startswith("/"):
            return None
        normalized = _normalized(path)
        mounts = [mount for mount in self.mounts if normalized.is_relative_to(_normalized(mount.destination))]
        return max(mounts, key=lambda mount: len(_normalized(mount.destination).parts), default=None)

    def _source(self, mount: Mount) -> Path:
        with suppress(OSError, RuntimeError):  # the name is too long; the user of `~user` does not exist
            source = Path(mount.source).expanduser()
            if source.is_absolute() and source.exists():
                return source
        problem = "does not exist" if mount.source.startswith(("/", "~")) else "is not an absolute path"
        raise BadRequest(
            f"{self.file} mounts {mount.source!r} as {mount.destination}, but this source {problem}",
            fix=f"create the directory, or correct the source of {mount.destination} in {self.file}",
            path=str(self.file),
        )


def find_config(path: Path | None) -> LauncherConfig | None:
    """Read the mounts file `path`, else that of the home directory, if there is one.

    Raises:
        NotFound: `path` does not exist.
        BadData: the file is not a mounts file.
    """
    path = path or _default_file()
    return read(path) if path else None


def read(path: Path) -> LauncherConfig:
    """Read a mounts file.

    Raises:
        NotFound: it does not exist.
        BadData: it is not a mounts file.
    """
    if not path.exists():
        raise NotFound(f"no mounts file {path}", fix="give the path of an existing JSON file", path=str(path))
    file: _File = read_json(path, _File, what=_KIND, fix=_FIX)
    try:
        _check_mounts(file.Mounts)
        environment = dict(_variables(file.Envs))
    except ValueError as error:
        raise BadData(f"{path} is not {_KIND}: {error}", fix=_FIX, path=str(path)) from error
    return LauncherConfig(
        file=path,
        mounts=file.Mounts,
        environment=environment,
        has_docker_options=bool(file.DockerOptions),
    )


def adapter(config: LauncherConfig, model: Model, spec: Path) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function that maps the container paths of a spec and prints a summary on stderr; `spec` is its file."""

    def adapt(values: Mapping[str, Any]) -> dict[str, Any]:
        local, paths = config.local_spec(model, values)
        note(config.summary([str(spec), *paths]))
        return local

    return adapt


def _default_file() -> Path | None:
    with suppress(RuntimeError):  # the user has no home directory
        path = Path.home() / FILE
        return path if path.exists() else None
    return None


def _check_mounts(mounts: Sequence[Mount]) -> None:
    for index, mount in enumerate(mounts):
        if not mount.destination.startswith("/"):
            raise ValueError(f"Mounts[{index}].destination is {mount.destination!r}, accepted: an absolute path")
    destinations = Counter(_normalized(mount.destination) for mount in mounts)
    if repeated := [destination for destination, count in destinations.items() if count > 1]:
        raise ValueError(f"two Mounts have the destination {repeated[0]}")


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
