"""A real S3 server on loopback (moto), behind a door that notes every request and can be told to misbehave."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY = "AKIAFAKE7Q2M4X9TESTS"
SECRET_KEY = "fake+Wm3vT8/rK5yBz0QhLxNcUeGdJiPsYoAf7S1"
BUCKET = "recordings"

REFUSED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _without_checksums(start_response: Any) -> Any:
    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(
            status, [one for one in headers if not one[0].lower().startswith("x-amz-checksum")], *more
        )

    return start


class S3Server:
    """Requests are (method, path); `refuse`, `damage` and `delay_s` are by method.

    Damage goes unnoticed by the S3 libraries, as no checksum comes with it, unless `checksums` are left.
    """

    def __init__(self) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.requests: list[tuple[str, str]] = []
        self.signed_with: set[str] = set()
        self.refuse: set[str] = set()
        self.damage: set[str] = set()
        self.delay_s: dict[str, float] = {}
        self.checksums = False
        self.after: Callable[[str], None] = lambda method: None
        self.server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        self.client.create_bucket(Bucket=BUCKET)
        self.forget()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.requests.append((method, environ["PATH_INFO"]))
        self.signed_with.add(environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0])
        if method in self.refuse:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSED]
        if method in self.damage and not self.checksums:
            start_response = _without_checksums(start_response)
        body = b"".join(self.moto(environ, start_response))
        time.sleep(self.delay_s.get(method, 0.0))
        self.after(method)
        return [bytes(255 - byte for byte in body) if method in self.damage else body]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def forget(self) -> None:
        """Behave from here on, and count anew."""
        self.requests.clear()
        self.signed_with.clear()
        self.refuse, self.damage, self.delay_s, self.checksums = set(), set(), {}, False
        self.after = lambda method: None

    def count(self, method: str, ending: str = "") -> int:
        return sum(one == method and path.endswith(ending) for one, path in self.requests)

    def put(self, key: str, content: bytes | Path) -> str:
        body = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        self.requests.clear()
        return f"s3://{BUCKET}/{key}"

    def put_folder(self, folder: Path, prefix: str, *patterns: str) -> str:
        for path in sorted({path for pattern in patterns or ("*",) for path in folder.glob(pattern)}):
            self.put(f"{prefix}/{path.name}", path)
        return f"s3://{BUCKET}/{prefix}"

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def keys(self, prefix: str) -> set[str]:
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {one["Key"].removeprefix(prefix) for one in listed}

    def environment(self, cache: Path, **changes: str | None) -> dict[str, str]:
        """The variables of a user of this server; None takes one away."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TAO_SKILL"))}
        given |= {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TAO_SKILL_CACHE": str(cache),
        }
        return {name: value for name, value in (given | changes).items() if value is not None}
