#!/usr/bin/env bash
# optuna 5.0.0: PatientPruner is said to prune where the improvement within the patience is below `min_delta`. It asks the
# opposite: whether the best value since is *worse* than the best before by more than `min_delta`. So a curve that stands
# still is never pruned, whatever the patience, and a larger `min_delta` lets a curve that gets worse live longer.
#
# Seen with patience 3, minimizing: 50 equal values are not pruned at min_delta 0, 0.1 or 1; a loss that rises by 0.05 a
# step is pruned at step 4 with min_delta 0, at step 6 with 0.1 and at step 14 with 0.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check optuna==5.0.0
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def pruned_at(curve: list[float], min_delta: float) -> int | None:
    """The step at which a trial with this curve is pruned."""
    pruner = optuna.pruners.PatientPruner(None, patience=3, min_delta=min_delta)
    trial = optuna.create_study(direction="minimize", pruner=pruner).ask()
    for step, value in enumerate(curve):
        trial.report(value, step)
        if trial.should_prune():
            return step
    return None


flat = {delta: pruned_at([1.0] * 50, delta) for delta in (0.0, 0.1, 1.0)}
rising = {delta: pruned_at([1.0 + 0.05 * step for step in range(50)], delta) for delta in (0.0, 0.1, 0.5)}
print(f"optuna {optuna.__version__}: pruned at, by min_delta: flat {flat}, rising {rising}")
assert set(flat.values()) == {None}, "this has changed"
assert rising[0.0] < rising[0.1] < rising[0.5], "this has changed"
PYTHON
