"""L1, L2 and elastic net against the outside world: linear models land on scikit-learn's solutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.models import linear
from regsearch.regularizers import all_regularizers
from regsearch.tasks import Regression

TOLERANCE = 1e-3
EPOCHS = 3000


@pytest.mark.parametrize(
    ("params", "solver"),
    [
        ({"l1.strength": 0.1}, Lasso(alpha=0.05, tol=1e-10, max_iter=100_000)),
        ({"l2.strength": 0.1}, Ridge(alpha=442 * 0.05, tol=1e-10)),
        ({"elastic_net.strength": 0.1, "elastic_net.l1_ratio": 0.3}, ElasticNet(alpha=0.05, l1_ratio=0.3, tol=1e-10)),
    ],
    ids=["Lasso", "Ridge", "ElasticNet"],
)
def test_linear_studies_reach_the_known_solution(params: dict[str, float], solver: Lasso) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    rules = all_regularizers()
    training = Training(EPOCHS, len(y), "adamw", 2e-2, 0.9, (0.9, 0.999), "cosine", False)
    made = Program(
        lambda: linear((10,), 1), Regression(1.0), tuple(rules[n] for n in ("l1", "l2", "elastic_net")), training
    )
    rows = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    pack = Pack(made, Data(*rows, *rows), 2)
    pack.load(0, Load(1, params, 0))
    everything = torch.arange(len(y)).expand(2, -1)
    for plan in pack.plan(EPOCHS):
        pack.step(everything, plan)
    weights = next(value for name, value in pack.weights(0).items() if name.endswith("weight"))
    expected = solver.fit(x, y).coef_
    assert np.abs(weights[0].numpy() - expected).max() <= TOLERANCE * np.abs(expected).max()
