"""Which rows train, validate and test: random, by time, by group, within each user, or as a column says.

Rows with equal features stay on one side of a random split. Every row is in one part, but for those that the study file
leaves out: by sizes that add up to less than all rows, or by an embargo.
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


def split_rows(table: Table, config: SplitConfig, every_row: bool = True) -> Rows:
    """Split the rows: the row numbers of each part, ascending.

    Args:
        every_row: False for data that regsearch 0.2.0 or an earlier one sealed: a group that fitted nowhere was left
            out, and so were rows that the rounding of shares had left over.

    Raises:
        UserError: an empty part, more rows than there are, a column that is missing or holds other values.
    """
    sizes = _sizes(len(table.y), config)
    room = _room(len(table.y), sizes, config) if every_row else None
    if config.column is not None and (not isinstance(table.x, pd.DataFrame) or config.column not in table.x.columns):
        raise no_column(table, "data.split.by", config.column)
    if config.kind == "random":
        keys = _feature_keys(table)
    elif config.kind == "time":
        keys = places_in_time(_column(table, config), config.time_format)
    else:
        keys = pd.factorize(_column(table, config))[0]
    if config.kind == "column":
        rows = _by_column(_column(table, config))
    elif config.kind == "user":
        rows = _within(keys, sizes, config.seed, room)
    elif config.kind == "time":
        rows = _consecutive(keys, sizes, config.embargo, room)
    else:
        strata = pd.factorize(table.y)[0] if table.task == "classification" else np.zeros(len(table.y), dtype=np.int64)
        rows = random_split(keys, strata, sizes, config.seed, room)
    for part in PARTS:
        if len(rows[part]) == 0 and (part != "test" or config.test > 0):
            raise empty_part(part, len(table.y), config, keys)
    return {part: np.sort(numbers) for part, numbers in rows.items()}


def left_out(rows: Rows, total: int, config: SplitConfig) -> dict[str, int]:
    """Count the rows that are in no part, by what leaves them out: `embargo`, or `sizes` of the split.

    Args:
        rows: of each part, as `split_rows` gives them.
        total: of the table.
    """
    missing = total - sum(map(len, rows.values()))
    embargo = min(missing, config.embargo * (2 if len(rows["test"]) else 1))
    return {name: count for name, count in (("embargo", embargo), ("sizes", missing - embargo)) if count}


def empty_part(part: str, total: int, config: SplitConfig, keys: np.ndarray | None = None) -> UserError:
    """Make the error that refuses a split of `total` rows which leaves none for a part.

    Args:
        keys: what each row must stay together with, or is shared out by: its group, time, user or features, [N].
    """
    if config.kind == "column":
        allowed = f"each row of {config.column} holds train, validation or test, and each of these needs a row"
        return UserError(f"no row is for {part}", key="data.split.by", value=config.column, allowed=allowed)
    asked = [name for name in PARTS if getattr(config, name) > 0]
    distinct = total if keys is None else len(np.unique(keys))
    if config.kind == "group" and distinct < len(asked):
        groups = f"{distinct} group" + "s" * (distinct != 1)
        need = f"{' and '.join([', '.join(asked[:-1]), asked[-1]])} need one each, {len(asked)} groups at least"
        return UserError(
            f"too few groups: the column holds {groups}, and {need}",
            key="data.split.by",
            value=config.column,
            allowed="name a column of more groups, as by: {group: COLUMN}, or say by: random",
        )
    return UserError(
        "no row is left for this part of the split",
        key=f"data.split.{part}",
        value=getattr(config, part),
        allowed=f"there are {total} rows{_together(total, distinct, config)}, and each part needs at least one",
    )


def _together(total: int, distinct: int, config: SplitConfig) -> str:
    """What keeps rows from a part, in words that follow how many there are."""
    if config.kind == "group":
        return f" in {distinct} groups of {config.column}"
    if config.kind == "user":
        return f" of {distinct} users, whose rows are shared out among the parts"
    if config.kind == "time":
        times = f" at {distinct} times" if distinct < total else ""
        embargo = f", of which each embargo drops {config.embargo}" if config.embargo else ""
        return f"{times}{embargo}; rows of one time stay in one part"
    return f", {distinct} of them different; equal rows stay in one part" if distinct < total else ""


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


def _room(total: int, sizes: dict[str, int], config: SplitConfig) -> int:
    """How many rows the study file leaves out: none by shares that add up to all, however they are rounded."""
    wanted = [getattr(config, part) for part in PARTS]
    shared_out = all(size <= 1 for size in wanted) and sum(wanted) >= 1 - 1e-9
    return 0 if shared_out else total - sum(sizes.values())


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


def _consecutive(places: np.ndarray, sizes: dict[str, int], embargo: int, room: int | None) -> Rows:
    """Train first, then validation, then test, the latest rows last, `embargo` rows dropped between.

    A part that would begin among rows of one time begins with the first of them, so that no two parts share a time.

    Args:
        places: of each row in the order of time, [N].
        room: rows that may be left out, the earliest; None for any number.
    """
    order = np.argsort(places, kind="stable")
    in_order = places[order]

    def begin(row: int) -> int:
        return int(np.searchsorted(in_order, in_order[row])) if 0 < row < len(order) else max(0, row)

    test = begin(len(order) - sizes["test"])
    validation_end = max(0, test - (embargo if sizes["test"] else 0))
    validation = begin(validation_end - sizes["validation"])
    train_end = max(0, validation - embargo)
    first = 0 if room == 0 else max(0, train_end - sizes["train"])
    return {
        "train": order[first:train_end],
        "validation": order[validation:validation_end],
        "test": order[test:],
    }


def _within(codes: np.ndarray, sizes: dict[str, int], seed: int, room: int | None) -> Rows:
    """Each user's rows shared out among the parts, in random order: its k-th of n falls where (k - 1/2) / n does.

    Args:
        codes: of each row its user, [N].
        room: 0 where no row is left out: what falls beyond the sizes trains then.
    """
    total = len(codes)
    shuffled = np.random.default_rng(seed).permutation(total)
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sorted_codes = codes[order]
    starts = np.searchsorted(sorted_codes, sorted_codes)
    place = (np.arange(total) - starts + 0.5) / np.bincount(codes)[sorted_codes]
    ends = np.cumsum([sizes[part] / total for part in PARTS])
    nearest = np.searchsorted(ends, place)
    if room == 0:
        nearest[nearest == len(PARTS)] = PARTS.index("train")
    return {part: order[nearest == index] for index, part in enumerate(PARTS)}


def consecutive(total: int, config: SplitConfig, embargo: int, every_row: bool = True) -> Rows:
    """Split `total` rows that are in the order of time into parts; arguments and errors as in `split_rows`."""
    sizes = _sizes(total, config)
    rows = _consecutive(np.arange(total), sizes, embargo, _room(total, sizes, config) if every_row else None)
    for part in PARTS:
        if len(rows[part]) == 0 and (part != "test" or config.test > 0):
            raise empty_part(part, total, config.model_copy(update={"embargo": embargo}))
    return rows


def random_split(keys: np.ndarray, strata: np.ndarray, sizes: dict[str, int], seed: int, room: int | None = 0) -> Rows:
    """Deal whole groups to parts, in random order, each to the part that lacks its class the most.

    A group that is larger than what any part lacks goes to the one that lacks most rows; the last groups go to parts
    that have none yet. Sizes are met exactly where groups of one row remain to fill them.

    Args:
        keys, strata: of each row its group and its class, [N].
        sizes: rows of each part.
        room: rows that may be left out, where they belong to groups that fit nowhere; None for any number.
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
    for number, group in enumerate(groups):
        label, size = strata[group[0]], len(group)
        open_parts = [part for part in PARTS if left[part] >= size]
        if room is not None:
            open_parts = _without_gaps(open_parts, rows, left, len(groups) - number)
            if not open_parts and size > room:
                open_parts = [max(PARTS, key=lambda part: left[part])]
        if not open_parts:
            room = None if room is None else room - size
            continue
        best = max(open_parts, key=lambda part: (need[part][label] / max(sizes[part], 1), PARTS.index(part)))
        rows[best] += group
        left[best] -= size
        need[best][label] -= size
    return {part: np.array(numbers, dtype=np.int64) for part, numbers in rows.items()}


def _without_gaps(open_parts: list[str], rows: dict[str, list[int]], left: dict[str, int], groups: int) -> list[str]:
    """The parts that a group may go to: where no more `groups` remain than parts are empty, one of these."""
    empty = [part for part in PARTS if left[part] > 0 and not rows[part]] if groups <= len(PARTS) else []
    if not empty or groups > len(empty):
        return open_parts
    return [part for part in open_parts if part in empty] or [max(empty, key=lambda part: left[part])]
