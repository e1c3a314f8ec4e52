"""No secret is left anywhere: whole flows by command line and MCP, every file, answer, process list and upload read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tao_skill.jobs.secrets import secret_values
from tests.support.experiments import dataset_overrides
from tests.support.servers.s3 import BUCKET, SECRET_KEY, S3Server

KEY = 'k3y "of\\the&house 7c1e'
SECRETS = {
    "TAO_SKILL_ENCRYPTION_KEY": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "WANDB_API_KEY": "wandb-5f0c9d2a77e14b",
    "PGPASSWORD": "pgpass-81d2c07be4",
    "TAO_SKILL_MCP_TOKEN": "mcp-token-9a3e51f0b2",
}
DATABASE = "dbpass-4471ac90de"
OTHER_KEY = "other-key-of-mcp-66b0"
FORMS = [
    form.encode()
    for value in (*SECRETS.values(), DATABASE, OTHER_KEY)
    for form in {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value)}
]


def found(where: str, content: bytes | str) -> list[str]:
    """Which secrets are in it, and where it is."""
    raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return [f"{form.decode()} in {where}" for form in FORMS if form in raw]


class Watch:
    """Looks at every process of this machine, fifty times a second.

    Command lines of all count, and the environments of those that work on jobs.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.workers: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    command = (process / "cmdline").read_bytes()
                    self.seen.update(found("a command line", command))
                    if re.search(rb"tao_skill\.(jobs|automl)\.\w+", command):
                        self.workers.add(int(process.name))
                        self.seen.update(found(f"the environment of {command!r}", (process / "environ").read_bytes()))


class Person:
    """Someone with secrets in the environment, and all that was said to them."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.root = folder / "results"
        self.environment = server.environment(folder / "cache", TAO_SKILL_RESULTS=str(self.root), **SECRETS)
        self.said = ""

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tao_skill", *words, "--json"],
            env=self.environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def person(s3_server: S3Server, tmp_path: Path) -> Person:
    return Person(s3_server, tmp_path)


def test_variables_are_private_by_their_names_and_passwords_by_their_place() -> None:
    environment = {**SECRETS, "HOME": "/home/somebody", "MONKEY": "no secret at all", "X_KEY": "short"}
    environment["TAO_SKILL_STORAGE"] = f"postgresql://me:{DATABASE}@host/db"
    environment["HTTPS_PROXY"] = f"http://me:{quote(OTHER_KEY + '/', safe='')}@proxy:80"
    hidden = secret_values(environment)
    assert {*SECRETS.values(), DATABASE, f"{OTHER_KEY}/"} <= set(hidden)
    assert "/home/somebody" not in hidden
    assert "short" not in hidden


def test_a_plan_shows_no_secret_and_a_hidden_one_is_not_taken_for_a_key(person: Person, tiny: Path) -> None:
    pairs = dataset_overrides(tiny)
    given = f"encryption_key={json.dumps(KEY)}"
    planned = person.run("run", "train", *pairs, "--automl", "off", given, "--dry-run")
    assert "encryption_key=***" in planned["next"][0]
    person.run("run", "train", *pairs, "encryption_key=***", "--dry-run", code=2)  # no YAML
    refused = person.run("run", "train", *pairs, 'encryption_key="***"', "--dry-run", code=2)
    assert "TAO_SKILL_ENCRYPTION_KEY" in refused["error"]["fix"]
    assert not found("the answers", person.said)


@pytest.mark.attacks
def test_nothing_of_a_flow_holds_a_secret(person: Person, s3_server: S3Server, tiny: Path, tmp_path: Path) -> None:
    pairs = dataset_overrides(tiny)
    small = [*pairs, "batch_size=6", "num_workers=1", "lr=0.02"]
    budget = ["--search-scope", "schema", "--trials", "2", "--max-epochs", "2", "--min-epochs", "1"]
    nowhere = f"postgresql://me:{DATABASE}@127.0.0.1:1/db"
    with Watch() as watch:
        person.run("run", "train", *small, *budget, "--upload", f"s3://{BUCKET}/results")
        for action in ("evaluate", "export"):
            person.run("run", action, "--parent", "latest:train")
        person.run(
            "run", "inference", "--parent", "latest:export", f"inference.test_dataset.data_path={tiny}/val_data.npy"
        )
        changed = {**person.environment, "TAO_SKILL_ENCRYPTION_KEY": OTHER_KEY}
        person.environment, before = changed, person.environment
        person.run("run", "evaluate", "--parent", "latest:train", code=2)  # another key, and so a traceback
        person.environment = before
        anyio.run(by_mcp, person, tiny, tmp_path)
    person.environment["TAO_SKILL_STORAGE"] = nowhere
    failed = person.run("run", "train", *small, *budget, "--key", "db", code=2)
    assert failed["job"]["state"] == "ERROR"
    logs = [path.read_text() for path in person.root.glob("*/log.txt")]
    assert sum("Traceback" in log for log in logs) >= 2
    assert len(watch.workers) >= 6
    assert not watch.seen
    assert not found("an answer", person.said)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".html", ".json", ".txt", ".pth", ".onnx", ".csv", ".db"} <= {path.suffix for path in written}
    assert any("tfevents" in path.name for path in written)
    assert not [one for path in written for one in found(str(path), path.read_bytes())]
    uploaded = s3_server.keys("results/")
    assert uploaded
    assert not [one for key in uploaded for one in found(key, s3_server.get(f"results/{key}"))]


async def by_mcp(person: Person, tiny: Path, folder: Path) -> None:
    """Train with a key of its own, look at the job in every way there is, and keep what is answered."""
    command = [sys.executable, "-m", "tao_skill", "mcp", "--http", "127.0.0.1:0"]
    command += [word for root in (folder, tiny) for word in ("--root", str(root))]
    process = subprocess.Popen(
        [*command, "--results-root", str(person.root)], env=person.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        headers = {"Authorization": f"Bearer {SECRETS['TAO_SKILL_MCP_TOKEN']}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            await calls(client, person, tiny)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
        person.said += said


async def calls(client: Client, person: Person, tiny: Path) -> None:
    async def call(name: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(name, arguments)
        person.said += result.model_dump_json() + json.dumps(result.structured_content)
        content: dict[str, Any] = result.structured_content
        return content

    pairs = dataset_overrides(tiny)
    overrides = [*pairs, "epochs=1", "num_workers=0", f"encryption_key={OTHER_KEY}"]
    for wrong in ("trian.lr=1", "epochs=zero"):
        assert "error" in await call("plan", action="train", overrides=[*overrides, wrong])
    proposed: Sequence[Any] = (await call("plan", action="train", automl="off", overrides=overrides))["next"]
    assert "encryption_key=***" in proposed[0]["arguments"]["overrides"]
    started = await call("run_action", action="train", automl="off", overrides=overrides, wait_s=100)
    job = started["job"]["id"]
    assert started["job"]["state"] == "COMPLETE"
    for name in ("job_status", "read_report", "wait_for_job"):
        await call(name, job=job, detail="full")
    await call("job_logs", job=job, lines=1000)
    await call("list_jobs")
    assert os.environ.get("TAO_SKILL_ENCRYPTION_KEY") is None
