"""Each task against scikit-learn and torch, and the metric that finals decide by against the one of each epoch."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import (
    balanced_accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from regsearch.analysis.statistics import METRICS, metric_interval, paired_bootstrap
from regsearch.config.data import TASKS as SAID
from regsearch.tasks import (
    TASKS,
    Classification,
    Clustering,
    Forecasting,
    LanguageModelling,
    Recommendation,
    Regression,
    Task,
    make_task,
)

ROWS = 60
TOLERANCE = 1e-5


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(math.prod(shape)))


def codes(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(high))


def clustered() -> torch.Tensor:
    return torch.cat([drawn(ROWS, 6), codes(3, ROWS, 1).float()], 1)


# A task, outputs of three seeds, stored targets.
CASES: dict[str, tuple[Task, torch.Tensor, torch.Tensor]] = {
    "classification": (Classification(4, auc=True), drawn(3, ROWS, 4), codes(4, ROWS)),
    "regression": (Regression(3.0, 10.0), drawn(3, ROWS, 1), drawn(ROWS)),
    "forecasting": (Forecasting(2.0, 5.0, 3), drawn(3, ROWS, 3), drawn(ROWS, 3)),
    "recommendation": (Recommendation(1.1, 3.5), drawn(3, ROWS, 1), drawn(ROWS)),
    "language_modelling": (LanguageModelling(7), drawn(3, ROWS, 5, 7), codes(6, ROWS, 5) + 1),
    "clustering": (Clustering(6, 3), drawn(3, ROWS, 8), clustered()),
}


def test_every_declared_task_is_tested_and_can_be_said() -> None:
    assert set(CASES) == set(TASKS) == set(SAID)
    with pytest.raises(ValueError, match="classification, clustering"):
        make_task("sorting", 2)


@pytest.mark.parametrize("name", CASES)
def test_finals_decide_by_the_metric_that_epochs_measure(name: str) -> None:
    task, out, y = CASES[name]
    predictions, truth = task.judged(out.numpy(), y.numpy())
    assert predictions.shape[:2] == (3, ROWS)
    assert truth.shape == (ROWS,)
    each_epoch = np.mean([float(task.metrics(each, y)[task.metric]) for each in out])
    assert metric_interval(predictions, truth, task.metric, seed=0, draws=50).value == pytest.approx(each_epoch, 1e-5)
    assert METRICS[task.metric].higher_is_better == (task.metric in task.higher)


@pytest.mark.parametrize("name", CASES)
def test_a_pack_measures_what_each_trial_does_alone(name: str) -> None:
    task, out, y = CASES[name]
    packed = torch.func.vmap(lambda each: task.metrics(each, y))(out)
    assert tuple(packed) == task.metrics_names
    assert set(task.higher) - {"auc"} <= set(task.metrics_names)
    alone = [task.metrics(each, y) for each in out]
    for metric, values in packed.items():
        torch.testing.assert_close(values, torch.stack([each[metric] for each in alone]))


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_one_number_a_row_and_has_a_gradient(name: str) -> None:
    task, out, y = CASES[name]
    at = out[0].clone().requires_grad_()
    loss = task.loss(at, task.encode(y))
    assert loss.shape == (ROWS,)
    loss.mean().backward()
    assert at.grad is not None
    assert float(at.grad.abs().max()) > 0
    shape = task.shape(ROWS)
    assert len(shape) == out[0].dim()
    assert all(size in (None, found) for size, found in zip(shape, out[0].shape, strict=True))


def test_classification_against_scikit_learn() -> None:
    task, out, y = CASES["classification"]
    found = task.metrics(out[0], y)
    probabilities = out[0].double().softmax(-1).numpy()
    assert float(task.loss(out[0], task.encode(y)).mean()) == pytest.approx(log_loss(y, probabilities), TOLERANCE)
    assert float(found["auc"]) == pytest.approx(roc_auc_score(y, probabilities, multi_class="ovr"), TOLERANCE)
    assert float(found["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(y, out[0].argmax(-1)), TOLERANCE)


def test_equal_scores_share_their_rank() -> None:
    rounded = (CASES["classification"][1][0][:, :2] * 2).round()
    y = codes(2, ROWS)
    margin = F.log_softmax(rounded, -1)[:, 1]
    found = Classification(2).metrics(rounded, y)["auc"]
    assert len(margin.unique()) < ROWS / 2, "the case needs ties"
    assert float(found) == pytest.approx(roc_auc_score(y, margin), TOLERANCE)
    assert float(Classification(2).metrics(torch.zeros(ROWS, 2), y)["auc"]) == 0.5


def test_a_class_that_is_absent_has_no_curve() -> None:
    out, y = drawn(ROWS, 3), codes(2, ROWS)
    both = [roc_auc_score(y == c, F.log_softmax(out, -1)[:, c]) for c in range(2)]
    assert float(Classification(3, auc=True).metrics(out, y)["auc"]) == pytest.approx(np.mean(both), TOLERANCE)
    assert float(Classification(2).metrics(out[:, :2], torch.zeros(ROWS, dtype=torch.int64))["auc"]) == 0.5
    assert "auc" not in Classification(3).metrics(out, y), "it costs a sort per class, so it is asked for"


def test_regression_against_scikit_learn() -> None:
    task, out, y = CASES["regression"]
    found = task.metrics(out[0], y)
    truth, predicted = y * 3 + 10, out[0, :, 0] * 3 + 10
    assert float(found["rmse"]) == pytest.approx(root_mean_squared_error(truth, predicted), TOLERANCE)
    assert float(found["mae"]) == pytest.approx(mean_absolute_error(truth, predicted), TOLERANCE)
    assert float(found["r2"]) == pytest.approx(r2_score(truth, predicted), TOLERANCE)
    assert float(task.metrics(out[0], torch.ones(ROWS))["r2"]) == 0.0, "no spread to explain is no divergence"


def test_padding_does_not_count_in_a_language_model() -> None:
    task, out, y = LanguageModelling(7), drawn(2, 5, 7), torch.tensor([[0, 0, 3, 1, 2], [0, 0, 4, 6, 5]])
    wanted = F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=0)
    torch.testing.assert_close(task.loss(out, task.encode(y)).mean(), wanted)
    changed = out.clone()
    changed[:, :2] += drawn(2, 2, 7)
    torch.testing.assert_close(task.metrics(changed, y)["perplexity"], wanted.exp())
    assert torch.isfinite(task.metrics(1e4 * out, y)["perplexity"]), "a bad start is no divergence"


def test_a_bootstrapped_perplexity_covers_and_decides() -> None:
    random = np.random.default_rng(0)
    worse = random.normal(2.0, 0.5, (5, 200))
    better = worse - 0.3 + random.normal(0.0, 0.05, (5, 200))
    found = paired_bootstrap(better, worse, np.zeros(200), "perplexity", seed=0, draws=2000)
    assert found.difference == pytest.approx(np.exp(better.mean(1)).mean() - np.exp(worse.mean(1)).mean())
    assert found.claim
    assert found.p_better > 0.99
    assert not paired_bootstrap(
        worse, worse + random.normal(0, 0.5, (5, 200)), np.zeros(200), "perplexity", seed=0
    ).claim


def test_groups_are_found_in_a_code_that_shows_them_and_never_trained_on() -> None:
    task, out, y = CASES["clustering"]
    telling = out[:2].clone()
    telling[0, :, 6:] = 10 * y[:, 6:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k-means on two cores speaks of threads
        nmi = task.at_finals(telling.numpy(), y.numpy())["nmi"]
    assert nmi[0] == pytest.approx(1.0)
    assert nmi[1] < 0.3
    other = y.clone()
    other[:, 6] = 0
    torch.testing.assert_close(task.loss(out[0], task.encode(y)), task.loss(out[0], task.encode(other)))
    assert Clustering(6).at_finals(telling.numpy(), y.numpy()) == {}
