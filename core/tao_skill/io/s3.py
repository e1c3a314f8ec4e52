"""S3 client, for AWS and compatible servers: check URLs, describe, read, write and copy objects.

Credentials come from the environment only. s3fs is imported at the first access to an object, never for local paths.
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
"""Variables of access key and secret key; the second pair is a legacy spelling."""
TOKEN_VARIABLE: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable
ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
ACCESS_FIX: Final = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for servers other than AWS, AWS_ENDPOINT_URL"

_CHUNK: Final = 32 * 2**20
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_SHORTEST_SECRET: Final = 8


class Unreachable(MissingDependency):
    """The S3 server does not answer."""

    code = "unreachable"


class AccessDenied(BadRequest):
    """The S3 server denies access."""

    code = "access_refused"


@dataclass(frozen=True, kw_only=True)
class RemoteObject:
    """Metadata of an object on the server.

    Attributes:
        size: in bytes. version: changes whenever the content does.
        md5: MD5 of the content, if the ETag is an MD5.
    """

    uri: str
    size: int
    version: str
    md5: str | None


def is_remote(text: str) -> bool:
    """Whether a path is a URL."""
    return "://" in text


def check_address(text: str) -> None:
    """Check that a URL is `s3://BUCKET/KEY`.

    Raises:
        BadRequest: it has another scheme, no bucket, or credentials; the message omits the URL, as it may be secret.
    """
    scheme, _, rest = text.partition("://")
    if scheme != SCHEME:
        raise BadRequest(
            f"{scheme}:// URLs are not supported, accepted: s3://BUCKET/KEY",
            fix="give an s3:// or local path",
        )
    bucket = rest.split("/", 1)[0]
    if "@" in bucket or (":" in bucket and not bucket.startswith("arn:")):
        raise BadRequest("an s3:// URL contains credentials, accepted: s3://BUCKET/KEY", fix=ACCESS_FIX)
    if not bucket:
        raise BadRequest("an s3:// URL has no bucket, accepted: s3://BUCKET/KEY", fix="write s3://BUCKET/KEY")


def join(prefix: str, name: str) -> str:
    """Return the URL of `name` under a prefix."""
    return f"{prefix.rstrip('/')}/{name}"


def credentials(environment: Mapping[str, str]) -> list[str]:
    """Return the secret values of an environment, which must not appear in records, logs or errors.

    Values under eight characters are skipped: replacing them would garble ordinary words.
    """
    names = [name for pair in KEY_VARIABLES for name in pair] + [TOKEN_VARIABLE]
    values = [environment.get(name, "") for name in names]
    values += [environment.get(name, "").rpartition("@")[0].rpartition("//")[2] for name in ENDPOINT_VARIABLES]
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


class S3:
    """S3 client that connects at the first call.

    Every method raises:
        MissingDependency: the s3 extra or credentials are missing.
        Unreachable: the server does not answer.
        BadRequest: the server rejects the request, or the URL is not valid.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @property
    def endpoint(self) -> str:
        """URL of the server, without credentials."""
        with self._translated_errors(f"{SCHEME}://"):
            return _without_login(str(self._files.connect().meta.endpoint_url))

    def describe(self, uri: str) -> RemoteObject | None:
        """Return the metadata of an object; None if it does not exist."""
        bucket, key = _split(uri)
        if not key or key.endswith("/"):
            return None
        try:
            with self._translated_errors(uri):
                head = self._files.call_s3("head_object", Bucket=bucket, Key=key)
        except NotFound:
            return None
        etag = str(head.get("ETag", "")).strip('"')
        size = int(head["ContentLength"])
        version = etag or f"{size} {head.get('LastModified')}"
        return RemoteObject(uri=uri, size=size, version=version, md5=etag if _is_md5(etag, head) else None)

    def read(self, remote: RemoteObject) -> Iterator[bytes]:
        """Read the content in chunks. Every request names the version, so that versions are never mixed.

        Raises:
            NotFound: the object was deleted.
            BadData: the object changed after `describe`.
        """
        with (
            self._translated_errors(remote.uri),
            self._files.open(remote.uri, "rb", block_size=_CHUNK, cache_type="none") as stream,
        ):
            if str(stream.details.get("ETag", "")).strip('"') not in (remote.version, ""):
                raise _changed(remote.uri)
            while chunk := stream.read(_CHUNK):
                yield chunk

    def require_bucket(self, uri: str) -> None:
        """Check that the bucket of a URL exists.

        Raises:
            NotFound: the bucket does not exist.
        """
        bucket, _ = _split(uri)
        try:
            with self._translated_errors(f"{SCHEME}://{bucket}"):
                self._files.call_s3("head_bucket", Bucket=bucket)
        except AccessDenied:  # a role may be allowed to write objects and not to list the bucket
            return

    def put(self, path: Path, uri: str) -> None:
        """Upload a file.

        Raises:
            OSError: the local file cannot be read.
        """
        path.open("rb").close()  # a missing local file must not be reported as a missing object
        with self._translated_errors(uri):
            self._files.put_file(str(path), uri)

    def put_text(self, text: str, uri: str) -> None:
        """Upload UTF-8 text."""
        with self._translated_errors(uri):
            self._files.pipe_file(uri, text.encode("utf-8"))

    def copy(self, source: str, uri: str) -> None:
        """Copy an object on the server."""
        with self._translated_errors(uri):
            self._files.cp_file(source, uri)

    @cached_property
    def _files(self) -> Any:
        try:
            import s3fs
        except ImportError as error:
            raise MissingDependency(
                "s3:// URLs need the s3 extra, which is not installed", fix="pip install 'tao-skill[s3]'"
            ) from error
        return s3fs.S3FileSystem(
            **_access(self._environment),
            config_kwargs={"retries": {"mode": "standard"}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    @contextmanager
    def _translated_errors(self, uri: str) -> Iterator[None]:
        """Convert errors of the S3 libraries to one-line errors that name the URL and contain no credentials."""
        files = self._files  # before botocore: reports that the extra is missing
        from botocore import exceptions as boto
        from s3fs.utils import FileExpired

        try:
            yield
        except FileExpired as error:
            raise _changed(uri) from error
        except boto.FlexibleChecksumError as error:
            raise damaged(uri) from error
        except FileNotFoundError as error:
            raise NotFound(f"{uri} does not exist", fix="check bucket, key and AWS_ENDPOINT_URL", path=uri) from error
        except PermissionError as error:
            raise AccessDenied(
                f"S3 denies access to {uri}: {self._redacted(error)}", fix=ACCESS_FIX, path=uri
            ) from error
        except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound) as error:
            raise MissingDependency(f"{uri} needs S3 credentials: {self._redacted(error)}", fix=ACCESS_FIX) from error
        except (boto.ConnectionError, boto.HTTPClientError, TimeoutError, ConnectionError) as error:
            host = urlsplit(str(files.endpoint_url or "")).hostname or "AWS"
            raise Unreachable(
                f"the S3 server at {host} does not answer for {uri} ({type(error).__name__})",
                fix="check AWS_ENDPOINT_URL and the network, then run again",
                path=uri,
            ) from error
        except (boto.BotoCoreError, boto.ClientError, OSError, ValueError) as error:
            raise BadRequest(f"S3 failed for {uri}: {self._redacted(error)}", fix=ACCESS_FIX, path=uri) from error

    def _redacted(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        for value in credentials(self._environment):
            text = text.replace(value, "***")
        return _without_login(text)


def damaged(uri: str) -> BadData:
    """Return the error for content that differs from its checksum on the server."""
    return BadData(f"{uri} was damaged in transfer", fix="run again", path=uri)


def _without_login(url: str) -> str:
    return re.sub(r"//\S*@", "//", url)


def _changed(uri: str) -> BadData:
    return BadData(f"{uri} changed while it was read", fix="run again", path=uri)


def _split(uri: str) -> tuple[str, str]:
    check_address(uri)
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _is_md5(etag: str, head: Mapping[str, Any]) -> bool:
    """Whether an ETag is the MD5: a single-part upload without a customer or KMS key (S3 API, Object)."""
    is_plain = head.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in head
    return is_plain and _MD5.fullmatch(etag) is not None


def _access(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of s3fs; the AWS libraries resolve those that are None, e.g. from a profile."""

    def first(names: tuple[str, ...]) -> str | None:
        return next((environment[name] for name in names if environment.get(name)), None)

    (key, secret), legacy = KEY_VARIABLES
    if not environment.get(key) and not environment.get("AWS_PROFILE"):
        key, secret = legacy
    region = first(REGION_VARIABLES)
    return {
        "key": environment.get(key),
        "secret": environment.get(secret),
        "token": environment.get(TOKEN_VARIABLE) if key == KEY_VARIABLES[0][0] else None,
        "endpoint_url": first(ENDPOINT_VARIABLES),
        "client_kwargs": {"region_name": region} if region else {},
    }
