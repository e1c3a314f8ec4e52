"""The database of a search: a SQLite file in the job's folder, or a PostgreSQL server for several machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from tao_skill.errors import BadData, BadRequest, CannotWrite, JobFailed, MissingDependency
from tao_skill.io.strict_json import mask_password

TIMEOUT_S: Final = 60.0
"""Time after which a database that is locked, restarting or not answering counts as failed."""

_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_FIX: Final = "write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_LOCK: Final = 7_240_614
"""Arbitrary key of the advisory lock under which tables are created."""

_UNAVAILABLE: Final = (OperationalError, InterfaceError)

T = TypeVar("T")


def default_url(job_folder: Path) -> str:
    """URL of the SQLite file in a job's folder.

    Raises:
        BadRequest: the path of the folder cannot be part of a URL.
    """
    path = job_folder.absolute() / "automl" / "study.db"
    if "?" in str(path):
        raise BadRequest(f"{path} cannot hold a database: its path has a '?'", fix="use another results root")
    return f"sqlite:///{path}"


def password(url: str) -> str | None:
    """The password in a database URL, to redact it in messages of drivers."""
    parsed = parse(url)
    value = parsed.password or parsed.query.get("password")
    return str(value) if value else None


def parse(url: str) -> sa.URL:
    """A database URL with its driver.

    Raises:
        BadRequest: it is not a URL, or the database is not supported.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise BadRequest(f"{mask_password(url)!r} is not a database URL", fix=_FIX) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver.partition("+")[0] not in _DRIVERS:
        raise BadRequest(f"{mask_password(url)} is not supported, accepted: SQLite and PostgreSQL", fix=_FIX)
    if driver == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise BadRequest(f"{url} has no file name, and a search must outlive its process", fix=_FIX)
    return parsed.set(drivername=driver)


def connect(url: str) -> sa.Engine:
    """An engine, after one successful connection.

    Raises:
        BadRequest: the URL is wrong, or the database cannot be opened. MissingDependency: the driver is not installed.
        BadData: the file is damaged.
    """
    parsed = parse(url)
    if parsed.drivername == "sqlite":
        _make_folder(Path(str(parsed.database)))
    try:
        engine = sa.create_engine(parsed, **options(parsed))
        begin_at_once(engine)
        with engine.begin() as connection:
            if parsed.drivername == "sqlite":
                _check_intact(connection, parsed)
            return engine
    except ImportError as error:
        raise MissingDependency(
            f"{mask_password(url)} needs the package {error.name}", fix="pip install 'tao-skill[postgresql]'"
        ) from error
    except DBAPIError as error:
        if parsed.drivername == "sqlite" and not isinstance(error, OperationalError):
            raise _damaged(parsed, driver_message(error, url)) from None
        fix = "start the server, or correct the URL, user, password or permissions"
        raise BadRequest(f"{mask_password(url)} cannot be opened: {driver_message(error, url)}", fix=fix) from None


def _check_intact(connection: sa.Connection, parsed: sa.URL) -> None:
    result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if result != "ok":
        raise _damaged(parsed, str(result))


def _damaged(parsed: sa.URL, message: str) -> BadData:
    return BadData(
        f"{parsed.database} is damaged: {message.splitlines()[0]}",
        fix="move it away, then run again with the same key: the trials are in the journal of the search",
        path=parsed.database,
    )


def options(parsed: sa.URL) -> dict[str, Any]:
    """Arguments of `create_engine` for a database, as a new mapping."""
    limits = {"timeout": TIMEOUT_S} if parsed.drivername == "sqlite" else {"connect_timeout": 10}
    return {"pool_pre_ping": True, "connect_args": limits}


def begin_at_once(engine: sa.Engine) -> None:
    """Let each SQLite transaction take the lock of the file when it begins.

    Processes then wait for each other; a transaction that reads before it writes would fail at once instead.
    """
    if engine.dialect.name != "sqlite":
        return

    def disable_driver_transactions(connection: Any, record: object) -> None:
        connection.isolation_level = None

    sa.event.listen(engine, "connect", disable_driver_transactions)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # connections without the listeners


@contextmanager
def table_lock(engine: sa.Engine) -> Iterator[None]:
    """Hold a lock while tables are created: PostgreSQL fails where two processes create a table at once."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield


def with_retries(url: str, call: Callable[[], T], seconds: float = TIMEOUT_S) -> T:
    """Result of an idempotent call, repeated while the database does not answer.

    Raises:
        JobFailed: it has not answered for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except _UNAVAILABLE as error:
            if time.monotonic() >= deadline:
                fix = "start or repair the database, then run again with the same key"
                raise JobFailed(
                    f"{mask_password(url)} does not answer: {driver_message(error, url)}", fix=fix
                ) from None
        time.sleep(min(1.0, seconds / 10))


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite.because(error, str(path.parent)) from error


def driver_message(error: BaseException, url: str) -> str:
    """The first line of the driver's message, without the password."""
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return (lines or [type(error).__name__])[0].replace(password(url) or "\0", "***")
