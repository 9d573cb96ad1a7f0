"""Records made up for the tests of pages, and a reader that checks a page's structure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from regsearch.analysis.dependence import Ruin
from regsearch.analysis.finals_summary import NO_TRIAL, Other, summarize
from regsearch.pages import StudyRecord
from tests.analysis.finals import candidates, summary

SENTENCE = "On 360 unseen images, the model found is right in 91.2 % of cases: 3.2 points better; the difference holds."


@dataclass(frozen=True)
class Dependence:
    name: str
    log: bool
    x: list[float]
    loss: list[float]
    gap: list[float]


@dataclass(frozen=True)
class Interaction:
    one: str
    other: str
    x: list[float]
    y: list[float]
    loss: list[list[float]]
    h: float


@dataclass(frozen=True)
class Importance:
    loss: dict[str, float]
    gap: dict[str, float]
    dependence: list[Dependence]
    interaction: Interaction | None
    basis: str
    moves: dict[str, float]
    ruins: list[Ruin]


def trials(count: int = 60, label: str = "dropout") -> pd.DataFrame:
    """Trial 0 has nothing on; the others dropout and a third each L1 and L2; some are pruned, one failed."""
    random = np.random.default_rng(0)
    number = np.arange(count)
    on, first, second = number > 0, number % 3 == 1, (number % 3 == 2)
    p = np.where(on, random.random(count) * 0.8, np.nan)
    loss = 0.3 + np.abs(np.nan_to_num(p) - 0.4) + 0.2 * random.random(count)
    gap = 0.3 / (0.2 + np.nan_to_num(p)) * random.random(count)
    state = np.where(number % 4 == 3, "PRUNED", "COMPLETE")
    state[count // 2] = "FAIL"
    loss[count // 2] = gap[count // 2] = np.nan
    names = [
        " + ".join([label] * int(a) + ["l1"] * int(b) + ["l2"] * int(c)) or "none"
        for a, b, c in zip(on, first, second, strict=True)
    ]
    schedule = np.where(on, np.where(number % 2 == 0, "linear", "constant"), None)
    return pd.DataFrame(
        {
            "number": number,
            "state": state,
            "reason": np.where(state == "FAIL", "diverged in epoch 3", None),
            "regularizers": names,
            f"{label}.p": p,
            f"{label}.p.schedule": schedule,
            "l1.strength": np.where(first, 10 ** random.uniform(-6, -2, count), np.nan),
            "l2.strength": np.where(second, 10 ** random.uniform(-6, -2, count), np.nan),
            "val_loss": loss,
            "train_loss": loss - gap,
            "gap": gap,
        }
    )


def curves(seeds: int = 5, epochs: int = 30) -> dict[str, dict[str, Any]]:
    """Finals whose losses fall, the baseline's validation loss less; one run stopped early."""
    random = np.random.default_rng(1)
    fall = 2 * np.exp(-0.2 * np.arange(epochs))
    found = {}
    for who, end in (("winner", 0.3), ("baseline", 0.6)):
        noise = 0.1 * random.random((2, seeds, epochs))
        found[who] = {"train_loss": fall + 0.1 + noise[0], "val_loss": fall + end + noise[1]}
    found["winner"]["val_loss"][0, epochs // 2 :] = np.nan
    return found


def importance() -> Importance:
    """Two knobs that matter, with curves and a grid."""
    x = np.linspace(0.1, 0.8, 8)
    grid = [[float(a + b * a) for b in x] for a in x]
    bowl = Dependence("dropout.p", False, x.tolist(), (0.3 + (x - 0.4) ** 2).tolist(), (0.4 - 0.3 * x).tolist())
    line = Dependence("l2.strength", True, [1e-5, 1e-4, 1e-3], [0.5, 0.4, 0.45], [0.2, 0.1, -0.05])
    pair = Interaction("dropout.p", "l2.strength", x.tolist(), x.tolist(), grid, 0.21)
    shares = ({"dropout.p": 0.7, "l2.strength": 0.3}, {"dropout.p": 0.9, "l2.strength": 0.1})
    moves, ruins = {"dropout.p": 0.2, "l2.strength": 0.75}, [Ruin("l2.strength", 0.1, True, 2.3, 0.3)]
    return Importance(*shares, [bowl, line], pair, "44 trials, in epoch 3", moves, ruins)


def other() -> Other:
    """The library default, which has no trial."""
    found = summary(difference=0.02, low=-0.004, high=0.041)
    candidate = replace(found.baseline, number=NO_TRIAL, label="dropout 0.5, weight decay 0.01")
    return Other("default", candidate, found.contrast, 0.03, 0.06)


def record(count: int = 60, **changes: Any) -> StudyRecord:
    """A whole study with a claim."""
    known: dict[str, Any] = {
        "name": "made-up",
        "trials": trials(count),
        "planned": count,
        "ended": True,
        "sentence": SENTENCE,
        "begun": "2026-01-02 03:04 UTC",
        "loss_words": "cross-entropy (nats)",
        "winner": 17,
        "summary": replace(summary(difference=0.032, low=0.011, high=0.055), others=(other(),)),
        "curves": curves(),
        "opened": 2,
        "opened_words": "test opened twice",
        "openings": [
            {"time": "2026-01-02T03:05:06Z", "study": name, "purpose": "finals", "decision": decision}
            for name, decision in (
                ("made-up", {"winner": 17, "params": {"dropout.p": 0.31234567}, "mean_val_loss": 0.31}),
                ("earlier", {"winner": 0, "params": {}, "mean_val_loss": 0.5}),
            )
        ],
        "data": {"source": "csv:patients.csv", "task": "classification", "digest of the split": "ab" * 32},
        "machine": {"processor": "x86_64", "pack width": "32", "torch": "2.13.0"},
        "study_file": "name: made-up\ndata:\n  source: csv:patients.csv\n",
        "logs": {"l1.strength": True, "l2.strength": True, "dropout.p": False},
        "importance": importance(),
        "timing": {"search": 12.5, "total": 20.0, "trial_steps_per_second": 12345.0},
    }
    return StudyRecord(**{**known, **changes})


def regression() -> StudyRecord:
    """Finals judged by the root mean square error; no claim."""
    one, other, _ = candidates()
    random = np.random.default_rng(2)
    y = random.normal(size=90) * 50 + 150
    values = [y + random.normal(size=(10, y.size)) * spread for spread in (41, 40)]
    sides = [type(each)(**{**each.__dict__, "predictions": v}) for each, v in zip((one, other), values, strict=True)]
    found = summarize(sides[0], sides[1], y, "rmse", seed=1, draws=200)
    return record(summary=found, loss_words="squared error (standardised)", sentence="It may be chance.")


RECORDS: Mapping[str, Any] = {
    "claim": record,
    "regression": regression,
    "without finals": lambda: record(summary=None, curves={}, openings=(), opened=0),
    "not ended": lambda: record(
        summary=None, curves={}, openings=(), opened=0, ended=False, importance=None, winner=None
    ),
    "not begun": lambda: record(
        trials=pd.DataFrame(columns=["number", "state", "reason", "regularizers"]),
        summary=None, curves={}, openings=(), opened=0, ended=False, importance=None, winner=None,
    ),
    "all failed": lambda: record(
        trials=trials().assign(state="FAIL", val_loss=np.nan, train_loss=np.nan, gap=np.nan),
        summary=None, curves={}, importance=None, winner=None,
    ),
    "two objectives": lambda: record(objectives=("val_loss", "gap"), front=(8, 17, 29)),
    "winner is the baseline": lambda: record(winner=0),
    "one trial": lambda: record(trials=trials(4).iloc[:1], importance=None),
    "outliers": lambda: record(trials=trials().assign(gap=lambda f: f["gap"].where(f["number"] != 5, 1e9))),
    "a thousand": lambda: record(1000),
}  # fmt: skip


VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    within: tuple[str, ...]
    text: str = ""
    parts: list[Element] = field(default_factory=list)

    def every(self, tag: str) -> list[Element]:
        """All elements of this name below this one."""
        return [each for part in self.parts for each in ([part] if part.tag == tag else []) + part.every(tag)]

    def words(self) -> str:
        """Its text and that of all below."""
        return self.text + "".join(part.words() for part in self.parts)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Element("", {}, ())]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        here = self.stack[-1]
        element = Element(tag, {name: value or "" for name, value in attrs}, (*here.within, here.tag))
        here.parts.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].text += data


def read(html: str) -> Element:
    """The page as a tree; a tag that is not closed where it should be is an error."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert len(reader.stack) == 1, f"<{reader.stack[-1].tag}> stays open"
    return reader.stack[0]


def assert_loads_nothing(text: str, root: Element) -> None:
    """The page is one file: nothing in it is fetched from elsewhere."""
    assert not root.every("script") and not root.every("link") and not root.every("img") and not root.every("iframe")
    assert "@import" not in text and "url(" not in text
    everything = [*root.every("a"), *root.every("use"), *root.every("svg"), *root.every("section")]
    links = [each.attributes.get(name, "#") for each in everything for name in ("href", "src", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    policy = [each.attributes["content"] for each in root.every("meta") if "http-equiv" in each.attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def assert_can_be_read(root: Element) -> None:
    """By keyboard and screen reader: headings in order, names for all that is drawn, numbers behind every picture."""
    (html,) = root.every("html")
    assert html.attributes["lang"] == "en"
    assert [len(root.every(tag)) for tag in ("main", "header", "footer", "h1", "nav")] == [1] * 5
    ids = [each.attributes["id"] for each in _all(root) if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    aimed = [link.attributes["href"][1:] for link in root.every("a")]
    named = [each.attributes.get("aria-labelledby", "") for each in _all(root)]
    assert {*aimed, *" ".join(named).split()} <= set(ids)
    levels = [int(each.tag[1]) for each in _all(root) if re.fullmatch(r"h\d", each.tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    for picture in (each for each in root.every("svg") if "plot" in each.attributes.get("class", "")):
        assert picture.attributes["role"] == "img"
        assert picture.parts[0].tag == "title" and picture.parts[1].tag == "desc"
        assert all(each.words().strip() for each in picture.parts[:2])
    for figure in root.every("figure"):
        assert figure.every("table") or figure.every("a"), "a picture has its numbers in a table"
    for table in root.every("table"):
        assert table.every("caption") and table.every("caption")[0].words().strip()
        assert all(cell.attributes["scope"] in ("col", "row") and cell.words().strip() for cell in table.every("th"))
    for box in (each for each in _all(root) if each.attributes.get("role") == "region"):
        assert box.attributes["tabindex"] == "0" and box.attributes["aria-label"]
    assert root.every("a")[0].attributes["href"] == "#content"


def _all(element: Element) -> list[Element]:
    return [each for part in element.parts for each in (part, *_all(part))]
