"""Keeps a file of what its process writes; Python imports it at the start where this folder is on PYTHONPATH.

Each line is a list: `argv` and the command line, `sql` with a connection and the head of a statement, `file` with the
path and the size of what is renamed into its place, or `cpu` with the seconds that the process took.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import sqlite3
import sys
import time
from typing import Any

_FOLDER = os.environ.get("TRACED_WRITES", "")
_HEAD = 200
"""Characters of a statement that are kept: it is told by its verb and its table."""

_CONNECTIONS = itertools.count()


def _tell(kind: str, *words: Any) -> None:
    os.write(_file, (json.dumps([kind, *words]) + "\n").encode())


def _connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    """As `sqlite3.connect`."""
    connection, number = _plainly(*arguments, **options), next(_CONNECTIONS)
    connection.set_trace_callback(lambda sql: _tell("sql", number, sql[:_HEAD]))
    return connection


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.rename":
        source, target = os.fsdecode(arguments[0]), os.fsdecode(arguments[1])
        _tell("file", target, os.stat(source, follow_symlinks=False).st_size)  # noqa: PTH116 - nothing more is imported


if _FOLDER:
    _file = os.open(f"{_FOLDER}/{os.getpid()}.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    _tell("argv", *sys.orig_argv)
    atexit.register(lambda: _tell("cpu", time.process_time()))
    _plainly, sqlite3.dbapi2.connect = sqlite3.dbapi2.connect, _connect
    sys.addaudithook(_hear)
