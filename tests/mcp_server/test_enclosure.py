"""The kernel holds a server and its jobs to the roots: folders are swapped for links after they were looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tao_skill.mcp_server import landlock
from tests.support.recordings import recording
from tests.support.servers.mcp import SERVER, environment

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

BEGIN = """
import json, os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from tao_skill.automl import submit
from tao_skill.errors import TaoSkillError
from tao_skill.jobs import launch
from tao_skill.mcp_server.enclosure import enclose
from tao_skill.planning.job import open_job
from tao_skill.agent_tools import run
from tao_skill.agent_tools.dispatch import reply
from tao_skill.agent_tools.roots import Roots
from tao_skill.agent_tools.context import ToolContext

root, outside = Path(sys.argv[1]), Path(sys.argv[2])
roots = Roots(folders=(root,))
if sys.argv[3] == "enclosed":
    assert enclose(roots, os.environ)
here = ToolContext(roots=roots, results_root=root / "results", environment=os.environ)

def swap(path, target):
    path.rename(path.with_name("was"))
    path.symlink_to(target)
"""

SWAPPED = """
overrides = [f"dataset_convert.data={root}/in/video.json", "dataset_convert.sequence_length_min=2"]
overrides += [f"dataset_convert.results_dir={root}/out", "dataset_convert.sequence_length=4"]
planned = run._plan(run.RunArguments(action="dataset_convert", overrides=overrides), here, None)
job, _ = open_job(planned, here.store, now=datetime.now(UTC))
here.store.log_path(job.id).touch()
swap({"in": root / "in", "out": root / "out", "log": here.store.log_path(job.id)}[sys.argv[4]], outside / sys.argv[4])
try:
    submit.start(job, here.store, {})
except TaoSkillError as error:
    print(error.message, file=sys.stderr)
print(json.dumps(launch.wait(here.store, job.id, 60).to_dict()) if sys.argv[4] != "log" else "{}")
"""

RACED = """
until, answers = time.monotonic() + 2, set()
while time.monotonic() < until:
    for name, arguments in {
        "job_logs": {"job": "job-1"},
        "job_status": {"job": "job-1"},
        "plan": {"action": "train", "spec": str(root / "flips" / "spec.yaml")},
        "inspect_data": {"data": str(root / "flips" / "data.npy")},
    }.items():
        answers.add(reply(name, arguments, here).text)
print(json.dumps(sorted(answers)))
"""

FLIP = """
import os, sys
links = sys.argv[3:]
while True:
    for target in sys.argv[1:3]:
        for link in links:
            os.symlink(os.path.join(target, os.path.basename(link)), link + "~")
            os.replace(link + "~", link)
"""

SECRET = "6b1f-outside-and-nobodys-business"


@dataclass(frozen=True)
class Place:
    """A root, and a folder outside it that the same user may read and write."""

    root: Path
    outside: Path

    def run(self, script: str, *words: str) -> Any:
        """What a process prints that works in the root as a server does; its folder for temporary files is its own."""
        (tmp := self.root.parent / "tmp").mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-c", BEGIN + script, self.root, self.outside, *words]
        variables = environment() | {"TMPDIR": str(tmp)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path.resolve() / "root", tmp_path.resolve() / "outside")
    for folder in (found.root / "in", found.root / "out", found.outside / "in", found.outside / "out"):
        folder.mkdir(parents=True)
    recording(found.root / "in" / "video.json", ids=(1,))
    recording(found.outside / "in" / "video.json", ids=(77,))
    (found.outside / "log").write_text(SECRET)
    return found


@pytest.mark.parametrize("swapped", ["in", "out", "log"])
def test_a_folder_swapped_between_check_and_use_leads_nowhere(place: Place, swapped: str) -> None:
    job = place.run(SWAPPED, "enclosed", swapped)
    assert swapped == "log" or (job["state"], "Permission denied" in json.dumps(job["error"])) == ("ERROR", True)
    assert list((place.outside / "out").iterdir()) == []
    assert (place.outside / "log").read_text() == SECRET


def test_without_the_kernel_the_same_swaps_lead_out(place: Place) -> None:
    """What the enclosure is for; a kernel without Landlock leaves this open, as SECURITY.md says."""
    assert place.run(SWAPPED, "free", "out")["state"] == "COMPLETE"
    assert [path.name for path in (place.outside / "out").glob("*.npy")] == ["object_1.npy"]


def test_links_that_flip_while_tools_are_called_give_nothing_away(place: Place) -> None:
    job, flips = place.root / "results" / "job-1", place.root / "flips"
    record = {"id": "job-1", "model": "pose_classification", "action": "train", "results_dir": str(job)}
    record |= {"created": "2026-01-01T00:00:00.000000+00:00", "attempts": [], "command": [], "artifacts": []}
    for folder in (job, flips, place.root / "good", place.outside / "bad"):
        folder.mkdir(parents=True)
    (job / "job.json").write_text(json.dumps(record))
    for folder, text in ((place.root / "good", "fine"), (place.outside / "bad", SECRET)):
        for name in ("log.txt", "spec.yaml", "data.npy"):
            (folder / name).write_text(f"{text}: {text}")
    links = [job / "log.txt", flips / "spec.yaml", flips / "data.npy"]
    flipping = subprocess.Popen([sys.executable, "-c", FLIP, place.root / "good", place.outside / "bad", *links])
    try:
        answers = place.run(RACED, "enclosed")
    finally:
        flipping.kill()
        flipping.wait()
    assert any("fine: fine" in one for one in answers)
    assert any("outside_roots" in one for one in answers)
    assert not [one for one in answers if SECRET in one]


def test_every_thread_of_a_server_and_its_jobs_is_enclosed(tmp_path: Path) -> None:
    """A thread that was there before the enclosure would be free for ever."""
    process = subprocess.Popen(
        [*SERVER, "--root", str(tmp_path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    for message in (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "list_jobs", "arguments": {}}},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        if "id" in message:
            process.stdout.readline()
    threads = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/status")]
    _, said = process.communicate(timeout=30)
    assert len(threads) >= 2
    assert all("NoNewPrivs:\t1" in status for status in threads)
    assert "Landlock" not in said
