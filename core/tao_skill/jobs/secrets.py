"""What of an environment others must not see, and how it reaches a process all the same.

Everyone who shares the user reads `/proc/PID/environ` for as long as a process lives. So the variables whose names say
that they are secret go through the new process's standard input, and into its `os.environ` from there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tao_skill.io.s3 import credentials

SECRETS_VARIABLE: Final = "TAO_SKILL_SECRETS"
"""Secret values by spec key, as JSON."""

STORAGE_VARIABLE: Final = "TAO_SKILL_STORAGE"
"""Address of the database of a search, which may hold a password."""

_PRIVATE: Final = re.compile(
    rf"(KEY|SECRET|TOKEN|PASSWORD|ACCESS_KEY_ID)$|^AWS_ENDPOINT_URL|^{SECRETS_VARIABLE}$|^{STORAGE_VARIABLE}$"
)
_SHORTEST: Final = 8


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: int | IO[bytes] | None = None,
    own_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process that calls `receive_secrets` first.

    Args:
        output: where it prints to; None for where this process does. own_session: it outlives this one's terminal.

    Raises:
        OSError: it cannot be started.
    """
    hidden = {name: value for name, value in environment.items() if is_private(name)}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=own_session,
        env={name: value for name, value in environment.items() if name not in hidden},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # who waits for it learns of its death
        pipe.write(json.dumps(hidden).encode("ascii"))
    process.stdin = None
    return process


def is_private(name: str) -> bool:
    """Whether a variable's name says that its value is secret."""
    return _PRIVATE.search(name) is not None


def receive_secrets() -> None:
    """Take the variables that `spawn` sends."""
    os.environ.update(json.loads(sys.stdin.buffer.read() or b"{}"))


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """What must be in no log: private values and passwords in addresses; shorter ones stand for nothing secret."""
    names = [name for name in environment if is_private(name) and name != SECRETS_VARIABLE]
    found = [environment[name] for name in names if "://" not in environment[name]]
    found += [_password(value) for value in environment.values() if "://" in value]
    return [value for value in found if len(value) >= _SHORTEST] + credentials(environment)


def _password(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return unquote(parts.password or "") or parse_qs(parts.query).get("password", [""])[0]
