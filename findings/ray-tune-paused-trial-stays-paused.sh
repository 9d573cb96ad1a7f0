#!/usr/bin/env bash
# ray[tune] 2.60.0: an experiment with HyperBand has ended, every trial is TERMINATED in its results, and the last
# snapshot of its state, which `Tuner.restore` and `ExperimentAnalysis` read, still says PAUSED for trials that were ended
# while they were paused: a snapshot is written anew for trials that had an actor when they ended. It shows where one
# falls between the pause and the end, which TUNE_GLOBAL_CHECKPOINT_S=0 makes certain.
#
# Seen: 9 trials terminated; in the last snapshot 5 TERMINATED and 4 PAUSED.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "ray[tune]==2.60.0"
"$folder/env/bin/python" -W ignore - "$folder" 2>/dev/null <<'PYTHON'
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.update({"TUNE_GLOBAL_CHECKPOINT_S": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"})
import ray
from ray import tune
from ray.tune.schedulers import HyperBandScheduler


def train(config):
    checkpoint = tune.get_checkpoint()
    begin = int((Path(checkpoint.path) / "epoch").read_text()) if checkpoint else 0
    for epoch in range(begin + 1, 10):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "epoch").write_text(str(epoch))
            tune.report({"loss": float(config["number"])}, checkpoint=tune.Checkpoint(folder))


def statuses(folder):
    state = max(Path(folder).glob("experiment_state-*.json"))
    return sorted(json.loads(one)["status"] for one, _ in json.loads(state.read_text())["trial_data"])


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
tuner = tune.Tuner(
    train,
    param_space={"number": tune.grid_search(list(range(9)))},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", scheduler=HyperBandScheduler(max_t=9, reduction_factor=3), max_concurrent_trials=2
    ),
    run_config=tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0),
)
results = tuner.fit()
last = statuses(results.experiment_path)
print(f"ray {ray.__version__}: {len(results)} results, the last snapshot says {last}")
assert results.num_terminated == 9 and "PAUSED" in last, "this has changed"
PYTHON
