"""Measures a client that knows only the tools: from sequences to predictions, and recovery from twelve faults.

Starts `tao-skill mcp` and uses it through the client of the official SDK. Prints calls, tokens (o200k_base, including
the list of tools) and the number of faults recovered from. Exits with 1 if a goal is missed or the budget is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np
from flow_client import Agent, Goal, Pursuit
from flow_faults import FAULTS, Fault, Server
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tao_skill.models.pose_classification.data.sample.sample import write_sample

MAX_CALLS: Final = 12
MAX_TOKENS: Final = 12_000
TIMEOUT_S: Final = 900
DEFAULT_SERVER: Final = Server()


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The cost of the flow from data to predictions, and the pursuit of each goal.

    Attributes:
        calls: names of the called tools, in order. listed: tokens before the first call.
    """

    calls: Sequence[str]
    tokens: int
    listed: int
    pursuits: Mapping[str, Pursuit]

    @property
    def is_good(self) -> bool:
        """Whether every goal was reached within the budget."""
        reached = [name for name, pursuit in self.pursuits.items() if pursuit.reached]
        return reached == list(goals(Path())) and len(self.calls) <= MAX_CALLS and self.tokens <= MAX_TOKENS


def goals(root: Path) -> dict[str, Goal]:
    """The requests of the user, in order."""
    data = root / "data"
    splits = {"data": "train_data.npy", "labels": "train_label.pkl", "other": "val_data.npy"}
    files = {name: str(data / file) for name, file in (splits | {"other_labels": "val_label.pkl"}).items()}
    recording = {"action": "dataset_convert", "data": str(root / "recording.json"), "combine": True}
    return {
        "inspect": Goal(request="inspect the sequences and labels before training", facts=files),
        "describe": Goal(request="describe the data and keys of an action", facts={"action": "dataset_convert"}),
        "convert": Goal(request="start dataset_convert as a job", facts=recording),
        "plan": Goal(
            request="plan a dry run: what is searched?", facts={"action": "train", "trials": 2, "max_epochs": 2}
        ),
        "train": Goal(request="start to train as a job", facts={"action": "train"}),
        "evaluate": Goal(request="start evaluate as a job", facts={"action": "evaluate"}),
        "export": Goal(request="start export as a job", facts={"action": "export"}),
        "inference": Goal(
            request="start inference as a job on what dataset_convert made", facts={"action": "inference"}
        ),
    }


def prepare(root: Path) -> None:
    """Write a small sample, and its test set as a bodypose-3d recording in millimetres with all persons in view."""
    write_sample(root / "data", train=12, val=6, frames=16, seed=3)
    joints_NTVC = np.load(root / "data" / "test_data.npy")[:2, ..., 0].transpose(0, 2, 3, 1)
    poses_NTV4 = np.concatenate([1000.0 * joints_NTVC, np.ones_like(joints_NTVC[..., :1])], axis=-1)
    batches = [_batch(frame, poses_NTV4[:, frame]) for frame in range(poses_NTV4.shape[1])]
    (root / "recording.json").write_text(json.dumps(batches), "utf-8")


def _batch(frame: int, poses_NV4: Any) -> dict[str, Any]:
    flat_poses = [[round(float(value), 3) for value in pose_V4.ravel()] for pose_V4 in poses_NV4]
    objects = [{"object_id": number, "pose3d": pose, "pose25d": pose} for number, pose in enumerate(flat_poses)]
    metadata = {"batch_id": 0, "frame_num": frame, "ntp_timestamp": frame, "num_obj_meta": len(objects)}
    return {"num_frames_in_batch": 1, "batches": [metadata | {"objects": objects}]}


@asynccontextmanager
async def connected(root: Path, server: Server = DEFAULT_SERVER) -> AsyncIterator[Client]:
    """Start a server with the root `root`, and give a client of it."""
    command = [*server.wrapper, sys.executable, "-m", "tao_skill", "mcp", "--root", str(root), *server.options]
    environment = {name: value for name, value in os.environ.items() if name != "TAO_SKILL_RESULTS"}
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=environment | dict(server.environment))
    with anyio.fail_after(TIMEOUT_S):
        async with Client(stdio_client(parameters)) as client:
            yield client


async def run_flow(client: Client, root: Path) -> Flow:
    """Pursue all goals in order with the same agent; stop at the first goal that is not reached."""
    agent = await Agent.connect(client)
    listed = agent.tokens
    pursuits: dict[str, Pursuit] = {}
    for name, goal in goals(root).items():
        pursuits[name] = await agent.reach(goal)
        if not pursuits[name].reached:
            break
    return Flow(calls=[call.tool for call in agent.calls], tokens=agent.tokens, listed=listed, pursuits=pursuits)


async def run_fault(client: Client, root: Path, fault: Fault) -> Pursuit:
    """Make the call of a fault with a new agent."""
    agent = await Agent.connect(client, alternative_folder=root / "elsewhere")
    if fault.earlier_call is not None:
        await (await Agent.connect(client)).pursue(fault.earlier_call(root))
    async with anyio.create_task_group() as tasks:
        if fault.meanwhile is not None:
            tasks.start_soon(fault.meanwhile, root)
        pursuit = await agent.pursue(fault.call(root))
        tasks.cancel_scope.cancel()
    return pursuit


async def evaluate(root: Path, names: Sequence[str]) -> tuple[Flow, dict[str, Pursuit | str]]:
    """Run the flow, then each fault with a new agent; a text instead of a pursuit is why a fault was skipped."""
    prepare(root)
    faults: dict[str, Pursuit | str] = {}
    async with connected(root) as client:
        flow = await run_flow(client, root)
        for name in names:
            server = FAULTS[name].server(root)
            if isinstance(server, str):
                faults[name] = server
            elif server is None:
                faults[name] = await run_fault(client, root, FAULTS[name])
            else:
                async with connected(root, server) as own_client:
                    faults[name] = await run_fault(own_client, root, FAULTS[name])
    return flow, faults


def is_recovered(pursuit: Pursuit | str) -> bool:
    """Whether the fault occurred and its goal was reached."""
    return isinstance(pursuit, Pursuit) and bool(pursuit.errors) and pursuit.reached


def lines(flow: Flow, faults: Mapping[str, Pursuit | str]) -> Iterator[str]:
    """The report of flow and faults."""
    missed = [name for name, pursuit in flow.pursuits.items() if not pursuit.reached]
    yield f"calls {len(flow.calls)} of {MAX_CALLS}: {' '.join(flow.calls)}"
    yield f"tokens {flow.tokens} of {MAX_TOKENS} ({flow.listed} for the list of tools)"
    yield f"not reached: {', '.join(missed)}" if missed else "all goals reached"
    yield f"recovered {sum(map(is_recovered, faults.values()))}/{len(faults)}"
    yield from ("", "| fault | fix | recovered | extra calls |", "|---|---|---|---|")
    for name, pursuit in faults.items():
        if isinstance(pursuit, str):
            yield f"| {name} | - | skipped: {pursuit} | - |"
            continue
        fixes = " / ".join(error["fix"] for error in pursuit.errors)
        yield f"| {name} | {fixes} | {'yes' if is_recovered(pursuit) else 'no'} | {pursuit.extra} |"


def main() -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faults", nargs="*", choices=FAULTS, default=list(FAULTS), help="Faults to run; default: all."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        flow, faults = anyio.run(evaluate, root, arguments.faults)
        print("\n".join(lines(flow, faults)).replace(f"{root}/", ""))
    pursuits = [pursuit for pursuit in faults.values() if isinstance(pursuit, Pursuit)]
    return 0 if flow.is_good and all(map(is_recovered, pursuits)) else 1


if __name__ == "__main__":
    sys.exit(main())
