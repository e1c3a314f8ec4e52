"""From sequences to predictions by what tools and answers say alone, and out of twelve faults by their fixes.

Starts `tao-skill mcp` and talks to it with the client of the official SDK. Prints calls, tokens (o200k_base, the list
of tools included) and how many faults were recovered from; exits with 1 over the budget or where a goal is missed.
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

MOST_CALLS: Final = 12
MOST_TOKENS: Final = 12_000
LIMIT_S: Final = 900
PLAIN: Final = Server()


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What the way from data to predictions took, and how each of its goals was pursued.

    Attributes:
        calls: tools, in order. listed: tokens spent before the first call.
    """

    calls: Sequence[str]
    tokens: int
    listed: int
    pursuits: Mapping[str, Pursuit]

    @property
    def is_good(self) -> bool:
        """Every goal reached, within the budget."""
        reached = [name for name, one in self.pursuits.items() if one.reached]
        return reached == list(goals(Path())) and len(self.calls) <= MOST_CALLS and self.tokens <= MOST_TOKENS


def goals(root: Path) -> dict[str, Goal]:
    """What the user says, one request after another."""
    data = root / "data"
    splits = {"data": "train_data.npy", "labels": "train_label.pkl", "other": "val_data.npy"}
    files = {name: str(data / file) for name, file in (splits | {"other_labels": "val_label.pkl"}).items()}
    recording = {"action": "dataset_convert", "data": str(root / "recording.json"), "combine": True}
    return {
        "inspect": Goal(words="inspect the sequences and labels before training", facts=files),
        "describe": Goal(words="describe the data and keys of an action", facts={"action": "dataset_convert"}),
        "convert": Goal(words="start dataset_convert as a job", facts=recording),
        "plan": Goal(
            words="plan a dry run: what is searched?", facts={"action": "train", "trials": 2, "max_epochs": 2}
        ),
        "train": Goal(words="start to train as a job", facts={"action": "train"}),
        "evaluate": Goal(words="start evaluate as a job", facts={"action": "evaluate"}),
        "export": Goal(words="start export as a job", facts={"action": "export"}),
        "inference": Goal(words="start inference as a job on what dataset_convert made", facts={"action": "inference"}),
    }


def prepare(root: Path) -> None:
    """The sample, small, and its test set as a bodypose-3d recording: everybody in view at once, in millimetres."""
    write_sample(root / "data", train=12, val=6, frames=16, seed=3)
    joints_NTVC = np.load(root / "data" / "test_data.npy")[:2, ..., 0].transpose(0, 2, 3, 1)
    seen_NTV4 = np.concatenate([1000.0 * joints_NTVC, np.ones_like(joints_NTVC[..., :1])], axis=-1)
    batches = [_batch(frame, seen_NTV4[:, frame]) for frame in range(seen_NTV4.shape[1])]
    (root / "recording.json").write_text(json.dumps(batches), "utf-8")


def _batch(frame: int, seen_NV4: Any) -> dict[str, Any]:
    flat = [[round(float(value), 3) for value in one.ravel()] for one in seen_NV4]
    objects = [{"object_id": number, "pose3d": one, "pose25d": one} for number, one in enumerate(flat)]
    facts = {"batch_id": 0, "frame_num": frame, "ntp_timestamp": frame, "num_obj_meta": len(objects)}
    return {"num_frames_in_batch": 1, "batches": [facts | {"objects": objects}]}


@asynccontextmanager
async def connected(root: Path, server: Server = PLAIN) -> AsyncIterator[Client]:
    """A client of a server of its own that works in `root`."""
    words = [*server.before, sys.executable, "-m", "tao_skill", "mcp", "--root", str(root), *server.options]
    kept = {name: value for name, value in os.environ.items() if name != "TAO_SKILL_RESULTS"}
    started = StdioServerParameters(command=words[0], args=words[1:], env=kept | dict(server.environment))
    with anyio.fail_after(LIMIT_S):
        async with Client(stdio_client(started)) as client:
            yield client


async def walk(client: Client, root: Path) -> Flow:
    """All goals in order, by one agent that remembers every answer; it stops at one that is not reached."""
    agent = await Agent.meet(client)
    listed = agent.tokens
    pursuits: dict[str, Pursuit] = {}
    for name, goal in goals(root).items():
        pursuits[name] = await agent.reach(goal)
        if not pursuits[name].reached:
            break
    return Flow(calls=[one.tool for one in agent.calls], tokens=agent.tokens, listed=listed, pursuits=pursuits)


async def suffer(client: Client, root: Path, fault: Fault) -> Pursuit:
    """Meet a fault, knowing nothing but the tools."""
    agent = await Agent.meet(client, elsewhere=root / "elsewhere")
    if fault.first is not None:
        await (await Agent.meet(client)).pursue(fault.first(root))
    async with anyio.create_task_group() as others:
        if fault.meanwhile is not None:
            others.start_soon(fault.meanwhile, root)
        pursuit = await agent.pursue(fault.call(root))
        others.cancel_scope.cancel()
    return pursuit


async def evaluate(root: Path, names: Sequence[str]) -> tuple[Flow, dict[str, Pursuit | str]]:
    """The flow, then the faults, each by a client that is new; a text says why a fault could not be made."""
    prepare(root)
    found: dict[str, Pursuit | str] = {}
    async with connected(root) as client:
        flow = await walk(client, root)
        for name in names:
            server = FAULTS[name].server(root)
            if isinstance(server, str):
                found[name] = server
            elif server is None:
                found[name] = await suffer(client, root, FAULTS[name])
            else:
                async with connected(root, server) as other:
                    found[name] = await suffer(other, root, FAULTS[name])
    return flow, found


def is_recovered(pursuit: Pursuit | str) -> bool:
    """Whether a fault was met and its goal reached."""
    return isinstance(pursuit, Pursuit) and bool(pursuit.errors) and pursuit.reached


def lines(flow: Flow, faults: Mapping[str, Pursuit | str]) -> Iterator[str]:
    """The report."""
    missed = [name for name, pursuit in flow.pursuits.items() if not pursuit.reached]
    yield f"calls {len(flow.calls)} of {MOST_CALLS}: {' '.join(flow.calls)}"
    yield f"tokens {flow.tokens} of {MOST_TOKENS} ({flow.listed} of them the list)"
    yield f"not reached: {', '.join(missed)}" if missed else "every goal reached"
    yield f"recovered {sum(map(is_recovered, faults.values()))}/{len(faults)}"
    yield from ("", "| fault | fix | recovered | extra calls |", "|---|---|---|---|")
    for name, pursuit in faults.items():
        if isinstance(pursuit, str):
            yield f"| {name} | - | not made: {pursuit} | - |"
            continue
        fixes = " / ".join(one["fix"] for one in pursuit.errors)
        yield f"| {name} | {fixes} | {'yes' if is_recovered(pursuit) else 'no'} | {pursuit.extra} |"


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS), help="Only these.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        flow, faults = anyio.run(evaluate, root, given.faults)
        print("\n".join(lines(flow, faults)).replace(f"{root}/", ""))
    made = [one for one in faults.values() if isinstance(one, Pursuit)]
    return 0 if flow.is_good and all(map(is_recovered, made)) else 1


if __name__ == "__main__":
    sys.exit(main())
