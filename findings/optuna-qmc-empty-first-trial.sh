#!/usr/bin/env bash
# optuna 5.0.0: QMCSampler takes its search space from the study's first trial alone. Where that one asked for nothing, a
# baseline with every knob off say, the space is empty, and every later number is drawn independently at random.
#
# Seen: 64 points in two dimensions have a discrepancy near 0.00015 after a first trial with both parameters, and some
# twenty times as much, that of random numbers, after a first trial without any.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check optuna==5.0.0 scipy==1.17.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import optuna
from scipy.stats import qmc

optuna.logging.set_verbosity(optuna.logging.ERROR)


def discrepancy(first_asks: bool) -> float:
    """Of the 64 points that follow the first trial."""
    study = optuna.create_study(sampler=optuna.samplers.QMCSampler(scramble=True, seed=0))
    first = study.ask()
    if first_asks:
        first.suggest_float("x", 0, 1), first.suggest_float("y", 0, 1)
    study.tell(first, 1.0)
    points = []
    for _ in range(64):
        trial = study.ask()
        points.append([trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)])
        study.tell(trial, 1.0)
    return float(qmc.discrepancy(points))


usual, empty = discrepancy(True), discrepancy(False)
print(f"optuna {optuna.__version__}: discrepancy {usual:.5f}; {empty:.5f} after a first trial without parameters")
assert usual < 0.0005 and empty > 5 * usual, "this has changed"
PYTHON
