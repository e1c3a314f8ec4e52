"""Objects on S3, or on a server that speaks its protocol: addresses, looking, reading, writing.

Access comes from the environment alone. s3fs is imported when the first object is asked for, never for local paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tao_skill.errors import BadData, BadRequest, MissingDependency, NotFound

SCHEME: Final = "s3"
KEY_VARIABLES: Final = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("ACCESS_KEY", "SECRET_KEY"))
"""Names of access key and secret; the second pair is an older one."""
TOKEN_VARIABLE: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable
ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
ACCESS_FIX: Final = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, beside AWS itself, AWS_ENDPOINT_URL"

_CHUNK: Final = 32 * 2**20
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_SHORTEST_SECRET: Final = 8


class Unreachable(MissingDependency):
    """The S3 server does not answer."""

    code = "unreachable"


class Refused(BadRequest):
    """The S3 server does not grant access."""

    code = "access_refused"


@dataclass(frozen=True, kw_only=True)
class RemoteObject:
    """What a server says of an object.

    Attributes:
        size: in bytes. version: changes whenever the content does.
        md5: of the content, where the server's ETag is that.
    """

    uri: str
    size: int
    version: str
    md5: str | None


def is_remote(text: str) -> bool:
    """Whether a path is an address."""
    return "://" in text


def check_address(text: str) -> None:
    """Refuse what is no plain S3 address.

    Raises:
        BadRequest: another scheme, no bucket, or credentials inside; the address is not shown, as it may hold them.
    """
    scheme, _, rest = text.partition("://")
    if scheme != SCHEME:
        raise BadRequest(
            f"addresses of the kind {scheme}:// are not read, accepted: s3://BUCKET/KEY",
            fix="give an s3:// or local path",
        )
    bucket = rest.split("/", 1)[0]
    if "@" in bucket or (":" in bucket and not bucket.startswith("arn:")):
        raise BadRequest("an s3:// address holds credentials, accepted: s3://BUCKET/KEY", fix=ACCESS_FIX)
    if not bucket:
        raise BadRequest("an s3:// address has no bucket, accepted: s3://BUCKET/KEY", fix="write s3://BUCKET/KEY")


def join(prefix: str, name: str) -> str:
    """The address of `name` under a prefix."""
    return f"{prefix.rstrip('/')}/{name}"


def credentials(environment: Mapping[str, str]) -> list[str]:
    """Values that must be in no record, log or error; shorter ones are words that stand for nothing secret."""
    names = [name for pair in KEY_VARIABLES for name in pair] + [TOKEN_VARIABLE]
    values = [environment.get(name, "") for name in names]
    values += [environment.get(name, "").rpartition("@")[0].rpartition("//")[2] for name in ENDPOINT_VARIABLES]
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


class S3:
    """A connection, made at the first question.

    Every method raises:
        MissingDependency: the s3 extra or credentials are missing.
        Unreachable: the server does not answer.
        BadRequest: the server refuses, or the address is none.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @property
    def endpoint(self) -> str:
        """URL of the server, without what may be secret in it."""
        with self._said(f"{SCHEME}://"):
            return _without_login(str(self._files.connect().meta.endpoint_url))

    def describe(self, uri: str) -> RemoteObject | None:
        """The object of an address; None if there is none."""
        bucket, key = _split(uri)
        if not key or key.endswith("/"):
            return None
        try:
            with self._said(uri):
                head = self._files.call_s3("head_object", Bucket=bucket, Key=key)
        except NotFound:
            return None
        etag = str(head.get("ETag", "")).strip('"')
        size = int(head["ContentLength"])
        version = etag or f"{size} {head.get('LastModified')}"
        return RemoteObject(uri=uri, size=size, version=version, md5=etag if _is_md5(etag, head) else None)

    def read(self, found: RemoteObject) -> Iterator[bytes]:
        """The content, in pieces; each is asked for with the version, so that two are never mixed.

        Raises:
            NotFound: the object is gone.
            BadData: it changed since it was described.
        """
        with self._said(found.uri), self._files.open(found.uri, "rb", block_size=_CHUNK, cache_type="none") as stream:
            if str(stream.details.get("ETag", "")).strip('"') not in (found.version, ""):
                raise _changed(found.uri)
            while chunk := stream.read(_CHUNK):
                yield chunk

    def require_bucket(self, uri: str) -> None:
        """Make sure that the bucket of an address exists, as far as its rights let one see.

        Raises:
            NotFound: there is no such bucket.
        """
        bucket, _ = _split(uri)
        try:
            with self._said(f"{SCHEME}://{bucket}"):
                self._files.call_s3("head_bucket", Bucket=bucket)
        except Refused:  # one may write to a bucket that one may not look at
            return

    def put(self, path: Path, uri: str) -> None:
        """Write a file to an address.

        Raises:
            OSError: the file cannot be read.
        """
        path.open("rb").close()  # or S3 would be said to lack it
        with self._said(uri):
            self._files.put_file(str(path), uri)

    def put_text(self, text: str, uri: str) -> None:
        """Write UTF-8 text to an address."""
        with self._said(uri):
            self._files.pipe_file(uri, text.encode("utf-8"))

    def copy(self, source: str, uri: str) -> None:
        """Copy an object inside the server."""
        with self._said(uri):
            self._files.cp_file(source, uri)

    @cached_property
    def _files(self) -> Any:
        try:
            import s3fs
        except ImportError as error:
            raise MissingDependency(
                "s3:// addresses need the s3 extra, which is not installed", fix="pip install 'tao-skill[s3]'"
            ) from error
        return s3fs.S3FileSystem(
            **_access(self._environment),
            config_kwargs={"retries": {"mode": "standard"}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    @contextmanager
    def _said(self, uri: str) -> Iterator[None]:
        """Errors of the S3 libraries, in one line that names the address and holds no credentials."""
        files = self._files  # without s3fs there is no botocore either
        from botocore import exceptions as boto
        from s3fs.utils import FileExpired

        try:
            yield
        except FileExpired as error:
            raise _changed(uri) from error
        except boto.FlexibleChecksumError as error:
            raise damaged(uri) from error
        except FileNotFoundError as error:
            raise NotFound(f"there is no {uri}", fix="check bucket, key and AWS_ENDPOINT_URL", path=uri) from error
        except PermissionError as error:
            raise Refused(f"S3 refuses access to {uri}: {self._plain(error)}", fix=ACCESS_FIX, path=uri) from error
        except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound) as error:
            raise MissingDependency(f"{uri} needs S3 credentials: {self._plain(error)}", fix=ACCESS_FIX) from error
        except (boto.ConnectionError, boto.HTTPClientError, TimeoutError, ConnectionError) as error:
            where = urlsplit(str(files.endpoint_url or "")).hostname or "AWS"
            raise Unreachable(
                f"the S3 server at {where} does not answer for {uri} ({type(error).__name__})",
                fix="check AWS_ENDPOINT_URL and the network, then run again",
                path=uri,
            ) from error
        except (boto.BotoCoreError, boto.ClientError, OSError, ValueError) as error:
            raise BadRequest(f"S3 failed for {uri}: {self._plain(error)}", fix=ACCESS_FIX, path=uri) from error

    def _plain(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        for value in credentials(self._environment):
            text = text.replace(value, "***")
        return _without_login(text)


def damaged(uri: str) -> BadData:
    """The error for content that is not what the server holds."""
    return BadData(f"{uri} arrived damaged", fix="run again", path=uri)


def _without_login(url: str) -> str:
    return re.sub(r"//\S*@", "//", url)


def _changed(uri: str) -> BadData:
    return BadData(f"{uri} changed while it was read", fix="run again", path=uri)


def _split(uri: str) -> tuple[str, str]:
    check_address(uri)
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _is_md5(etag: str, head: Mapping[str, Any]) -> bool:
    """An ETag is the MD5 of what was written in one part and not encrypted with a key of its own (S3 API, Object)."""
    plain = head.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in head
    return plain and _MD5.fullmatch(etag) is not None


def _access(environment: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of s3fs; what is None here, profiles for instance, is left to the AWS libraries."""

    def first(names: tuple[str, ...]) -> str | None:
        return next((environment[name] for name in names if environment.get(name)), None)

    (key, secret), older = KEY_VARIABLES
    if not environment.get(key) and not environment.get("AWS_PROFILE"):
        key, secret = older
    region = first(REGION_VARIABLES)
    return {
        "key": environment.get(key),
        "secret": environment.get(secret),
        "token": environment.get(TOKEN_VARIABLE) if key == KEY_VARIABLES[0][0] else None,
        "endpoint_url": first(ENDPOINT_VARIABLES),
        "client_kwargs": {"region_name": region} if region else {},
    }
