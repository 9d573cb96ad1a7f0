"""What is measured of one model: packs against their peers, the share of the products, the cost of independence.

Legend: T trials.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import peers
from bench import summary
from models import CASES
from packs import Packs, dependent
from process_groups import Bench, ProcessGroup, Variant
from products import batched, layers, useful

PEER_WIDTHS = (4, 16, 64)
Rates = dict[str, list[float]]
"""Work per second of the whole machine by variant, one figure per repeat."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Args:
        repeats: how often each variant has its turn.
        seconds: of a turn.
        widths: T of the packs, for the curve.
        compiled: whether steps are compiled where they can be.
        no_modelbatch: why `modelbatch` is left out; None: it is not.
    """

    repeats: int
    seconds: float
    widths: tuple[int, ...]
    compiled: bool
    no_modelbatch: str | None


# What the processes of a group call. Packs of a model are made once, with and without dropout.


def _make(bench: Bench, dropout: bool, compiled: bool) -> dict[str, Any]:
    made = bench.packs["dropout" if dropout else "plain"] = Packs(bench.case, bench.rows, dropout, compiled)
    return made.found


def _best_width(bench: Bench, dropout: bool) -> int:
    return bench.packs["dropout" if dropout else "plain"].calibration.width


def _pack(bench: Bench, width: int, dropout: bool) -> Iterator[int]:
    return bench.packs["dropout" if dropout else "plain"].steps(width)


def _dependent_pack(bench: Bench, width: int, own_streams: bool, compiled: bool) -> Iterator[int]:
    with dependent(own_streams):
        steps = Packs(bench.case, bench.rows, True, compiled, width).steps(width)
        next(steps)  # what is not compiled is traced by its first step
    yield from steps


def _stock(bench: Bench, fused: bool, channels_last: bool) -> Iterator[int]:
    return peers.stock(bench.case, bench.rows, fused, channels_last)


def _plain_vmap(bench: Bench, width: int) -> Iterator[int]:
    return peers.plain_vmap(bench.case, bench.rows, width)


def _modelbatch(bench: Bench, width: int) -> Iterator[int]:
    return peers.modelbatch(bench.case, bench.rows, width)


def _batched(bench: Bench, width: int, padded: bool) -> Iterator[int]:
    return batched(bench.case, width, padded)


class Measurement:
    """One model on all groups.

    Args:
        groups: by their names.
        name: of the model.
        settings: how much is measured.
    """

    def __init__(self, groups: dict[str, ProcessGroup], name: str, settings: Settings) -> None:
        self.groups, self.name, self.settings = groups, name, settings
        for group in groups.values():
            group.ask("model", name)

    def throughput(self) -> dict[str, Any]:
        """Trial-steps per second of packs and of all peers, interleaved, and the ratio of packs to the best stock loop.

        The packs' own figure is that of the width that a study would choose, `width`; the curve has every width.
        """
        found, width = self._packs(dropout=False)
        widths = sorted({*self.settings.widths, width})
        stock = self._stock()
        packs = [Variant(f"regsearch T={t}", "packs", _pack, (t, False)) for t in widths]
        for variant in [*stock, *packs]:
            self._begin(variant)
        others, failed = self._others()
        sizes = layers(CASES[self.name])
        both = [(group, padded) for group in ("packs", "singles") for padded in (False, True)]
        products = [Variant(_product(group, p), group, _batched, (width, p)) for group, p in both] if sizes else []
        for variant in products:
            self._begin(variant)
        rates = self._rates([*stock, *packs, *others, *products])

        best = max((variant.name for variant in stock), key=lambda name: statistics.median(rates[name]))
        ours = f"regsearch T={width}"
        result = {
            **found,
            "aim": CASES[self.name].aim,
            "width": width,
            "best_stock": best,
            "ratio": _ratio(rates[ours], rates[best]),
            "curve": {str(t): _ratio(rates[f"regsearch T={t}"], rates[best]) for t in widths},
            "trial_steps_per_second": {v.name: summary(rates[v.name]) for v in [*packs, *stock, *others]},
            "failed": failed,
            "profile": self.groups["packs"].ask("profile", ours)[0],
        }
        if sizes:
            each = useful(sizes, CASES[self.name].batch)
            done = [rate * each for rate in rates[ours]]
            result["products"] = {
                "operations_per_trial_step": each,
                "step": summary([rate / 1e9 for rate in done]),
                "batched": {v.name: summary([rate / 1e9 for rate in rates[v.name]]) for v in products},
                "share": {v.name: _ratio(done, rates[v.name]) for v in products},
            }
        return result

    def independence(self) -> dict[str, Any]:
        """The rate of packs with dropout against the fastest of the same packs without independence."""
        found, width = self._packs(dropout=True)
        compiled = "uncompiled" not in found
        names = {False: "without independence", True: "without independence, own random streams kept"}
        variants = [Variant("independent", "packs", _pack, (width, True))]
        variants += [Variant(n, "singles", _dependent_pack, (width, own, compiled)) for own, n in names.items()]
        for variant in variants:
            self._begin(variant)
        rates = self._rates(variants)
        best = max(names.values(), key=lambda name: statistics.median(rates[name]))
        return {
            **found,
            "width": width,
            "best_without": best,
            "ratio": _ratio(rates["independent"], rates[best]),
            "trial_steps_per_second": {variant.name: summary(rates[variant.name]) for variant in variants},
        }

    def _packs(self, dropout: bool) -> tuple[dict[str, Any], int]:
        """What making the packs' program found, and the width that a study would choose."""
        group = self.groups["packs"]
        answers = group.ask("call", _make, dropout, self.settings.compiled)
        found: dict[str, Any] = next((each for each in answers if "uncompiled" in each), answers[0])
        return found, max(group.ask("call", _best_width, dropout))

    def _stock(self) -> list[Variant]:
        layouts = (False, True) if self.name == "convnet" else (False,)
        groups = {"singles": "a process per core", "threads": "a thread per core"}
        return [
            Variant(_stock_name(words, fused, last), group, _stock, (fused, last))
            for group, words in groups.items()
            for fused in (True, False)
            for last in layouts
        ]

    def _others(self) -> tuple[list[Variant], dict[str, str]]:
        """The peers that train several trials at once, each at the best of its widths, and why others do not train."""
        kinds = {"plain vmap": _plain_vmap, "modelbatch": _modelbatch}
        chosen, failed = [], {}
        if self.settings.no_modelbatch:
            del kinds["modelbatch"]
            failed["modelbatch"] = self.settings.no_modelbatch
        for kind, begin in kinds.items():
            best, most = None, 0.0
            for width in PEER_WIDTHS:
                variant = Variant(f"{kind} T={width}", "singles", begin, (width,))
                why = self._begin(variant, may_fail=True)
                if why:
                    failed[kind] = why
                    break
                rate = max(sum(self._turn(variant, self.settings.seconds / 3)) for _ in range(2))
                worse = variant if rate <= most else best
                if worse:
                    self.groups[worse.group].ask("end", worse.name)
                if rate <= most:
                    break
                best, most = variant, rate
            chosen += [best] if best else []
        return chosen, failed

    def _begin(self, variant: Variant, may_fail: bool = False) -> str | None:
        why: str | None = self.groups[variant.group].ask("begin", variant)[0]
        if why and not may_fail:
            raise RuntimeError(f"{self.name}, {variant.name}: {why}")
        return why

    def _turn(self, variant: Variant, seconds: float) -> list[float]:
        return self.groups[variant.group].ask("rate", variant.name, seconds)

    def _rates(self, variants: Sequence[Variant]) -> Rates:
        """All variants in turn, forwards and backwards, so that none is always the first after another."""
        rates: Rates = {variant.name: [] for variant in variants}
        for repeat in range(self.settings.repeats):
            for variant in variants if repeat % 2 == 0 else reversed(variants):
                rates[variant.name].append(sum(self._turn(variant, self.settings.seconds)))
        return rates


def _stock_name(group: str, fused: bool, channels_last: bool) -> str:
    return f"stock, {group}, {'fused' if fused else 'foreach'} Adam" + (", channels last" if channels_last else "")


def _product(group: str, padded: bool) -> str:
    mode = "reproducible" if group == "packs" else "any instructions"
    return f"{mode}, {'heads padded to 16' if padded else 'the shapes of the pack'}"


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of the repeats, one by one."""
    return summary([one / other for one, other in zip(ours, theirs, strict=True)])
