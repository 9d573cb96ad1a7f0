"""Which rows train, validate and test: random, by time, by group, within each user, or as a column says.

Rows with equal features stay on one side of a random split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from regsearch.data.arrays import Table, no_column
from regsearch.data.times import places_in_time
from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.config import SplitConfig

PARTS = ("train", "validation", "test")
Rows = dict[str, np.ndarray]


def split_rows(table: Table, config: SplitConfig) -> Rows:
    """Split the rows: the row numbers of each part, ascending.

    Raises:
        UserError: an empty part, more rows than there are, a column that is missing or holds other values.
    """
    sizes = _sizes(len(table.y), config)
    if config.column is not None and (not isinstance(table.x, pd.DataFrame) or config.column not in table.x.columns):
        raise no_column(table, "data.split.by", config.column)
    if config.kind == "column":
        rows = _by_column(_column(table, config))
    elif config.kind == "user":
        rows = _within(_column(table, config), sizes, config.seed)
    elif config.kind == "time":
        places = places_in_time(_column(table, config), config.time_format)
        rows = _consecutive(places, sizes, config.embargo)
    else:
        keys = _feature_keys(table) if config.kind == "random" else pd.factorize(_column(table, config))[0]
        strata = pd.factorize(table.y)[0] if table.task == "classification" else np.zeros(len(table.y), dtype=np.int64)
        rows = random_split(keys, strata, sizes, config.seed)
    for part in PARTS:
        if len(rows[part]) == 0 and (part != "test" or config.test > 0):
            raise empty_part(part, len(table.y), config)
    return {part: np.sort(numbers) for part, numbers in rows.items()}


def empty_part(part: str, total: int, config: SplitConfig) -> UserError:
    """Make the error that refuses a split of `total` rows which leaves none for a part."""
    if config.kind == "column":
        allowed = f"each row of {config.column} holds train, validation or test, and each of these needs a row"
        return UserError(f"no row is for {part}", key="data.split.by", value=config.column, allowed=allowed)
    embargo = f", of which each embargo drops {config.embargo}" if config.embargo else ""
    if config.kind == "time":
        embargo += "; rows of one time stay in one part"
    return UserError(
        "no row is left for this part of the split",
        key=f"data.split.{part}",
        value=getattr(config, part),
        allowed=f"there are {total} rows{embargo}, and each part needs at least one",
    )


def _column(table: Table, config: SplitConfig) -> pd.Series:
    """The column that the split goes by."""
    assert isinstance(table.x, pd.DataFrame), "arrays were refused before"
    return table.x[config.column]


def _sizes(total: int, config: SplitConfig) -> dict[str, int]:
    wanted = {part: getattr(config, part) for part in PARTS}
    sizes = {part: int(size) if size > 1 else round(size * total) for part, size in wanted.items()}
    if sum(size for part, size in sizes.items()) > total:
        if all(size <= 1 for size in wanted.values()):
            sizes["train"] -= sum(sizes.values()) - total
        else:
            asked = " + ".join(f"{size} for {part}" for part, size in sizes.items())
            raise UserError(
                "more rows than there are", key="data.split", value=asked, allowed=f"there are {total} rows in all"
            )
    return sizes


def _feature_keys(table: Table) -> np.ndarray:
    """One number per distinct row of features."""
    if isinstance(table.x, pd.DataFrame):
        return np.unique(pd.util.hash_pandas_object(table.x, index=False).to_numpy(), return_inverse=True)[1]
    return equal_rows(table.x)


def equal_rows(x: np.ndarray) -> np.ndarray:
    """Number the rows of x [N, F...], equal rows alike, [N]."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1))
    return np.unique(flat.view(np.dtype((np.void, flat.strides[0]))).ravel(), return_inverse=True)[1]


def _by_column(values: pd.Series) -> Rows:
    texts = values.astype(str).to_numpy()
    other = sorted(set(texts) - set(PARTS))
    if other:
        allowed = "allowed are " + ", ".join(PARTS)
        raise UserError("the split column holds another value", key="data.split.by", value=other[0], allowed=allowed)
    return {part: np.flatnonzero(texts == part) for part in PARTS}


def _consecutive(places: np.ndarray, sizes: dict[str, int], embargo: int) -> Rows:
    """Train first, then validation, then test, the latest rows last, `embargo` rows dropped between.

    A part that would begin among rows of one time begins with the first of them, so that no two parts share a time.

    Args:
        places: of each row in the order of time, [N].
    """
    order = np.argsort(places, kind="stable")
    in_order = places[order]

    def begin(row: int) -> int:
        return int(np.searchsorted(in_order, in_order[row])) if 0 < row < len(order) else max(0, row)

    test = begin(len(order) - sizes["test"])
    validation_end = max(0, test - (embargo if sizes["test"] else 0))
    validation = begin(validation_end - sizes["validation"])
    train_end = max(0, validation - embargo)
    return {
        "train": order[max(0, train_end - sizes["train"]) : train_end],
        "validation": order[validation:validation_end],
        "test": order[test:],
    }


def _within(values: pd.Series, sizes: dict[str, int], seed: int) -> Rows:
    """Each value's rows shared out among the parts, in random order: its k-th of n falls where (k - 1/2) / n does."""
    codes, total = pd.factorize(values)[0], len(values)
    shuffled = np.random.default_rng(seed).permutation(total)
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sorted_codes = codes[order]
    starts = np.searchsorted(sorted_codes, sorted_codes)
    place = (np.arange(total) - starts + 0.5) / np.bincount(codes)[sorted_codes]
    ends = np.cumsum([sizes[part] / total for part in PARTS])
    nearest = np.searchsorted(ends, place)
    return {part: order[nearest == index] for index, part in enumerate(PARTS)}


def consecutive(total: int, config: SplitConfig, embargo: int) -> Rows:
    """Split `total` rows that are in the order of time into parts; arguments and errors as in `split_rows`."""
    rows = _consecutive(np.arange(total), _sizes(total, config), embargo)
    for part in PARTS:
        if len(rows[part]) == 0 and (part != "test" or config.test > 0):
            raise empty_part(part, total, config.model_copy(update={"embargo": embargo}))
    return rows


def random_split(keys: np.ndarray, strata: np.ndarray, sizes: dict[str, int], seed: int) -> Rows:
    """Deal whole groups to parts, in random order, each to the part that lacks its class the most.

    Args:
        keys, strata: of each row its group and its class, [N].
        sizes: rows of each part.

    Sizes are met exactly where groups of one row remain to fill them.
    """
    random = np.random.default_rng(seed)
    total = len(keys)
    counts = np.bincount(strata)
    need = {part: size * counts / total for part, size in sizes.items()}
    left = dict(sizes)
    order = random.permutation(total)
    members: dict[int, list[int]] = {}
    for row in order:
        members.setdefault(int(keys[row]), []).append(int(row))
    # Large groups first: the single rows then fill what is left.
    groups = sorted(members.values(), key=len, reverse=True)
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for group in groups:
        label = strata[group[0]]
        fitting = [part for part in PARTS if left[part] >= len(group)]
        if not fitting:
            continue
        best = max(fitting, key=lambda part: (need[part][label] / max(sizes[part], 1), PARTS.index(part)))
        rows[best] += group
        left[best] -= len(group)
        need[best][label] -= len(group)
    return {part: np.array(numbers, dtype=np.int64) for part, numbers in rows.items()}
