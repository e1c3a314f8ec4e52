"""The database of a search: a SQLite file in the job's folder, or a PostgreSQL server that many machines see."""

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

PATIENCE_S: Final = 60.0
"""How long a database may not answer, be locked or be started anew before whoever needs it gives up."""

_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_FIX: Final = "write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_LOCK: Final = 7_240_614
"""Any number, the same for everyone, that stands for the right to make tables."""

_AWAY: Final = (OperationalError, InterfaceError)

T = TypeVar("T")


def default_url(job_folder: Path) -> str:
    """Address of the file in a job's folder.

    Raises:
        BadRequest: the folder's name cannot be part of an address.
    """
    path = job_folder.absolute() / "automl" / "study.db"
    if "?" in str(path):
        raise BadRequest(f"{path} cannot hold a database: its name has a '?'", fix="take another results root")
    return f"sqlite:///{path}"


def password(url: str) -> str | None:
    """The password in an address, for those who hide it in what others print."""
    parsed = parse(url)
    given = parsed.password or parsed.query.get("password")
    return str(given) if given else None


def parse(url: str) -> sa.URL:
    """An address with its driver.

    Raises:
        BadRequest: it is none, or names another kind of database.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise BadRequest(f"{mask_password(url)!r} is no address of a database", fix=_FIX) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver.partition("+")[0] not in _DRIVERS:
        raise BadRequest(f"a search cannot be kept in {mask_password(url)}: only SQLite and PostgreSQL can", fix=_FIX)
    if driver == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise BadRequest(f"{url} names no file, and a search must outlive its process", fix=_FIX)
    return parsed.set(drivername=driver)


def connect(url: str) -> sa.Engine:
    """The database, reached once to be sure.

    Raises:
        BadRequest: the address is wrong, or nothing answers there. MissingDependency: the driver is not installed.
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
                _check_whole(connection, parsed)
            return engine
    except ImportError as error:
        raise MissingDependency(
            f"{mask_password(url)} needs the package {error.name}", fix="pip install 'tao-skill[postgresql]'"
        ) from error
    except DBAPIError as error:
        if parsed.drivername == "sqlite" and not isinstance(error, OperationalError):
            raise _damaged(parsed, _said(error, url)) from None
        fix = "start the server, or correct the address, user, password or rights"
        raise BadRequest(f"{mask_password(url)} cannot be opened: {_said(error, url)}", fix=fix) from None


def _check_whole(connection: sa.Connection, parsed: sa.URL) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise _damaged(parsed, str(found))


def _damaged(parsed: sa.URL, said: str) -> BadData:
    return BadData(
        f"{parsed.database} is damaged: {said.splitlines()[0]}",
        fix="restore it from a copy, or move the job's folder away and search again",
        path=parsed.database,
    )


def options(parsed: sa.URL) -> dict[str, Any]:
    """How an engine is made for an address; each gets a mapping of its own."""
    limits = {"timeout": PATIENCE_S} if parsed.drivername == "sqlite" else {"connect_timeout": 10}
    return {"pool_pre_ping": True, "connect_args": limits}


def begin_at_once(engine: sa.Engine) -> None:
    """Let each SQLite transaction take the file's lock when it begins.

    Processes then wait for each other; one that first reads and then writes would be refused at once instead.
    """
    if engine.dialect.name != "sqlite":
        return

    def leave_begin_to_us(connection: Any, record: object) -> None:
        connection.isolation_level = None

    sa.event.listen(engine, "connect", leave_begin_to_us)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # what was connected before


@contextmanager
def making_tables(engine: sa.Engine) -> Iterator[None]:
    """Be the only process that makes tables on a PostgreSQL server, which refuses to make one twice at once."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield


def patiently(url: str, call: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What a call gives that may be repeated; it is, for some time, while the database does not answer.

    Raises:
        JobFailed: it still does not.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except _AWAY as error:
            if time.monotonic() >= deadline:
                fix = "see to the database, then run again with the same key"
                raise JobFailed(f"{mask_password(url)} does not answer: {_said(error, url)}", fix=fix) from None
        time.sleep(min(1.0, seconds / 10))


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite.because(error, str(path.parent)) from error


def _said(error: BaseException, url: str) -> str:
    """The driver's first line, without the password."""
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return (lines or [type(error).__name__])[0].replace(password(url) or "\0", "***")
