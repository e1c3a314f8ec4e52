"""A process of a training in several: `torchrun training_process.py TINY RESULTS SETTINGS`; leaves its metrics."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tao_skill.models.pose_classification.actions import train
from tests.support.experiments import experiment

if __name__ == "__main__":
    data, folder, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    metrics = train.run(experiment(data, folder, **settings)).metrics
    (folder / f"metrics_{os.environ['RANK']}.json").write_text(json.dumps(dict(metrics)))
