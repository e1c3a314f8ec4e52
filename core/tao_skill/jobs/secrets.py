"""Pass secret environment variables to a subprocess through its standard input.

Every process of the same user can read `/proc/PID/environ`. So variables whose names mark them as secret are not in the
initial environment of the subprocess; it reads them from standard input into `os.environ`.
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
"""URL of the database of a search, which may contain a password."""

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
    """Start a process, which must call `receive_secrets` first.

    Args:
        output: target of stdout and stderr; None inherits them. own_session: the process survives the terminal.

    Raises:
        OSError: the process cannot be started.
    """
    secrets = {name: value for name, value in environment.items() if is_private(name)}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=own_session,
        env={name: value for name, value in environment.items() if name not in secrets},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # the exit status tells if the process died early
        pipe.write(json.dumps(secrets).encode("ascii"))
    process.stdin = None
    return process


def is_private(name: str) -> bool:
    """Whether the name of a variable marks its value as secret."""
    return _PRIVATE.search(name) is not None


def receive_secrets() -> None:
    """Read the variables that `spawn` sends into `os.environ`."""
    os.environ.update(json.loads(sys.stdin.buffer.read() or b"{}"))


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Return the values to redact in logs: secret variables, and passwords in URLs.

    Values under eight characters are skipped: replacing them would garble ordinary words.
    """
    names = [name for name in environment if is_private(name) and name != SECRETS_VARIABLE]
    values = [environment[name] for name in names if "://" not in environment[name]]
    values += [_password(value) for value in environment.values() if "://" in value]
    return [value for value in values if len(value) >= _SHORTEST] + credentials(environment)


def _password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.password or "") or parse_qs(parts.query).get("password", [""])[0]
