"""Bad input, case by case: what replaces what in a small study, and what the line that refuses it must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

STUDY = """name: small
data: {source: 'csv:t.csv', target: y, task: classification, split: {seed: 1}}
model: {name: mlp, hidden: [8]}
train: {epochs: 2, batch_size: 32}
space: {dropout: search}
search: {trials: 3, parallel: 2, width: 2, workers: 1}
finalize: {seeds: 2}
"""
REGRESSION = "task: regression"
FACTORIES = """
import numpy
import pandas
import torch
def build(inputs, outputs): return torch.nn.Linear(inputs[0], outputs)
def wide(inputs, outputs): return torch.nn.Linear(inputs[0], outputs + 1)
def fails(inputs, outputs): raise KeyError("weights.bin")
def wrong(inputs, outputs): return [3]
def narrow(inputs, outputs): return torch.nn.Linear(inputs[0] + 1, outputs)
def table(): return 3
def broken(): raise OSError("no such server")
def bare(inputs, outputs): return torch.nn.Flatten()
def flat(inputs, outputs): return torch.nn.Sequential(torch.nn.Linear(inputs[0], 1), torch.nn.Flatten(0))
def counting(inputs, outputs): return Counting(inputs[0], outputs)
def growing(inputs, outputs): return Growing(inputs[0], outputs)
def batch(inputs, outputs):
    norm = torch.nn.BatchNorm1d(outputs, track_running_stats=False)
    return torch.nn.Sequential(torch.nn.Linear(inputs[0], outputs), norm)
class Counting(torch.nn.Linear):
    calls = 0
    def forward(self, x):
        self.calls += 1
        return super().forward(x)
class Growing(torch.nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("seen", torch.zeros(0))
    def forward(self, x):
        self.seen = torch.cat([self.seen, x.mean(1)])
        return super().forward(x)
X, Y = numpy.arange(120.0).reshape(40, 3), numpy.arange(40) % 2
def infinite(): return {"x": numpy.where(X == 62, numpy.inf, X), "y": Y}
def huge(): return {"x": numpy.where(X == 62, 1e39, X), "y": Y}
def missing(): return {"x": numpy.where(X == 62, numpy.nan, X), "y": Y}
def strange(): return {"x": X, "y": numpy.where(numpy.arange(40) == 16, 7, Y)}
def ragged(): return {"x": [[1, 2, 3]] * 12 + [[1, 2]] * 28, "y": Y}
def objects(): return {"x": numpy.array([[1.0, 2.0]] * 12 + [[1.0]] * 28, dtype=object), "y": Y}
def sequences(): return {"x": [torch.ones(4 + (i == 30), 2) for i in range(40)], "y": Y}
def wide_target(): return {"x": X, "y": Y[:, None]}
def listed(): return pandas.DataFrame({"a": [[1, 2]] * 40, "y": Y})
"""


def rows(target: Callable[[int], object], count: int = 60) -> str:
    """A table of `count` rows with columns a, b, site, part and y."""
    part = ("train", "train", "validation")
    body = (f"{i},{i * 7 % 11},{i % 5},{part[i % 3]},{target(i)}" for i in range(count))
    return "\n".join(["a,b,site,part,y", *body]) + "\n"


@dataclass(frozen=True)
class Bad:
    """One piece of bad input: what replaces what in the study file, and what the line must say."""

    what: str
    old: str = ""
    new: str = ""
    key: str = ""
    value: str = ""
    allowed: str = ""
    table: str = field(default_factory=lambda: rows(lambda i: i % 3))
    more: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    file: str = "study.yaml"


def model(factory: str) -> tuple[str, str]:
    return "{name: mlp, hidden: [8]}", f"{{factory: '{factory}'}}"


def arrays(function: str, what: str, allowed: str) -> tuple[str, str, str, str, str]:
    """A source of arrays, and what is said of it."""
    return "csv:t.csv', target: y", f"python:net:{function}', target: y", "data.source", what, allowed


def uri(address: str) -> tuple[str, str]:
    return "finalize:", f"tracking: {{uri: '{address}'}}\nfinalize:"


CASES = [
    Bad("unknown key", "trials: 3", "trails: 3", "search.trails", "3", "did you mean trials?"),
    Bad("unknown section", "finalize:", "finalise:", "finalise", "{'seeds': 2}", "did you mean finalize?"),
    Bad("unknown regularizer", "dropout: s", "drpout: s", "space.drpout", "'drpout'", "did you mean dropout?"),
    Bad("unknown knob", "dropout: search", "dropout: {q: 0.1}", "space.dropout.q", "'q'", "allowed is p"),
    Bad("no activation", "{name: mlp, hidden: [8]}", "{name: linear}", "space.dropout", "finds no site", "activation"),
    Bad(
        "no classes",
        "dropout: search",
        "label_smoothing: search",
        "space.label_smoothing",
        "means nothing where numbers are predicted",
        "classification",
        more=(("task: classification", REGRESSION),),
    ),
    Bad("bound outside", "dropout: search", "dropout: {p: {high: 2}}", "space.dropout.p.high", "2", "from 0 to 0.99"),
    Bad("low > high", "dropout: search", "dropout: {p: {low: 0.5, high: 0.1}}", "space.dropout.p", "0.5", "low up to"),
    Bad("log and 0", "dropout: search", "l1: {strength: {low: 0}}", "space.l1.strength.low", "0", "log: false"),
    Bad("missing csv", "t.csv", "other.csv", "data.source", "'csv:other.csv'", "looked in"),
    Bad("missing parquet", "csv:t.csv", "parquet:other.parquet", "data.source", "other.parquet", "looked in"),
    Bad("no table", "csv:t.csv", "parquet:t.csv", "data.source", "parquet:t.csv", "must be a Parquet file"),
    Bad("unknown kind", "csv:t.csv", "cvs:t.csv", "data.source", "'cvs:t.csv'", "csv:PATH"),
    Bad("unknown set", "csv:t.csv", "sklearn:digit", "data.source", "'sklearn:digit'", "digits"),
    Bad("missing target", "target: y", "target: z", "data.target", "'z'", "a, b, site, part, y"),
    Bad("missing column", "{seed: 1}", "{by: {group: town}}", "data.split.by", "'town'", "a, b, site, part"),
    Bad("other words", "{seed: 1}", "{by: {column: site}}", "data.split.by", "'0'", "train, validation, test"),
    Bad("no module", "csv:t.csv", "python:nowhere:table", "data.source", "python:nowhere:table", "MODULE:FUNCTION"),
    Bad("function fails", "csv:t.csv", "python:net:broken", "data.source", "python:net:broken", "MODULE:FUNCTION"),
    Bad("no frame", "csv:t.csv", "python:net:table", "data.source", "python:net:table", "DataFrame"),
    Bad(
        "NaN in target",
        key="data.target",
        value="'y'",
        allowed="every row",
        table=rows(lambda i: "" if i == 7 else i % 3),
    ),
    Bad(
        "NaN in regression",
        "task: classification",
        REGRESSION,
        "data.target",
        "'y'",
        "every row",
        table=rows(lambda i: "nan" if i == 7 else i),
    ),
    Bad(
        "inf in target",
        "task: classification",
        REGRESSION,
        "data.target",
        "'y'",
        "every row",
        table=rows(lambda i: "inf" if i == 7 else i),
    ),
    Bad(
        "words to regress",
        "task: classification",
        REGRESSION,
        "data.target",
        "'y'",
        "classification",
        table=rows(lambda i: "ab"[i % 2]),
    ),
    Bad("class of two", key="data.target", value="'y'", allowed="at least three", table=rows(lambda i: int(i > 57))),
    Bad("single class", key="data.target", value="'y'", allowed="two", table=rows(lambda i: 1)),
    Bad("empty split", "{seed: 1}", "{validation: 0.001}", "data.split.validation", "0.001", "60 rows"),
    Bad("empty part", "{seed: 1}", "{by: {column: part}}", "data.split.by", "'part'", "train, validation or test"),
    Bad("embargo", "{seed: 1}", "{by: {time: a}, embargo: 50}", "data.split.train", "0.6", "each embargo drops 50"),
    Bad(
        "undated rows",
        *("{seed: 1}", "{by: {time: a}}"),
        *("data.split.by", "missing in 2 of 60 rows, first in row 8", "every row needs one"),
        table=rows(lambda i: i % 3).replace("\n7,", "\n,").replace("\n9,", "\n,"),
    ),
    Bad(
        "day or month",
        *("{seed: 1}", "{by: {time: a}}"),
        *("data.split.time_format", "'1/2/2001'", 'time_format: "%m/%d/%Y"'),
        table="a,b,y\n" + "".join(f"{1 + i % 5}/{1 + i // 5}/2001,{i},{i % 3}\n" for i in (5, *range(60))),
    ),
    Bad(
        "too many rows",
        "{seed: 1}",
        "{train: 100}",
        "data.split",
        "100 for train + 12 for validation",
        "60 rows in all",
    ),
    Bad("no factory module", *model("nowhere:build"), "model.factory", "'nowhere:build'", "module:callable"),
    Bad("no factory", *model("net:biuld"), "model.factory", "'net:biuld'", "module:callable"),
    Bad("factory fails", *model("net:fails"), "model.factory", "'net:fails'", "inputs, outputs"),
    Bad("no model", *model("net:wrong"), "model.factory", "'net:wrong'", "nn.Module"),
    Bad("output", *model("net:wide"), "model", "(4, 4)", "(4, 3)", more=(("dropout: search", "l1: search"),)),
    Bad("input", *model("net:narrow"), "model", "(5,)", "7x5 and 6x3", more=(("dropout: search", "l1: search"),)),
    Bad("trials < 1", "trials: 3", "trials: 0", "search.trials", "0", "from 1 up"),
    Bad("--trials", key="--trials", value="0", allowed="from 1 up", options=("--trials", "0"), file=""),
    Bad("epochs < 1", "epochs: 2", "epochs: 0", "train.epochs", "0", "from 1 up"),
    Bad("batches < 1", "batch_size: 32", "batch_size: 0", "train.batch_size", "0", "from 1 up"),
    Bad("no name", "name: small", "name: a b", "name", "'a b'", "letters, digits"),
    Bad("a key twice", "name: small", "name: small\nname: small", "line 2", "stands twice", "YAML"),
    Bad("no model named", "name: mlp, hidden: [8]", "hidden: [8]", "model", "neither", "MODULE:CALLABLE"),
    Bad("two models", "name: mlp", "name: mlp, factory: 'a:b'", "model", "both", "MODULE:CALLABLE"),
    Bad("finals, no test", "{seed: 1}", "{test: 0.0}", "data.split.test", "0", "finalize: {seeds: 0}"),
    Bad("unknown metric", "trials: 3", "objective: val_los", "search.objective", "'val_los'", "did you mean val_loss?"),
    Bad("constraint", "trials: 3", "constraint: gap < 0.1", "search.constraint", "gap < 0.1", "METRIC <= NUMBER"),
    Bad("cost", "trials: 3", "objective: [gap, epochs]", "search.objective", "epochs", "early_stopping"),
    Bad("device", key="--device", value="'tpu'", allowed="cpu, cuda", options=("--device", "tpu"), file=""),
    Bad(
        "no such GPU",
        "trials: 3",
        "trials: 3, device: 'cuda:7'",
        "search.device",
        "'cuda:7'",
        "this machine has no such device",
    ),
    Bad(
        "store below a file",
        *uri("sqlite:///t.csv/mlflow.db"),
        "tracking.uri",
        "t.csv/mlflow.db",
        "is a file, not a folder",
    ),
    Bad("store a folder", *uri("sqlite:///folder"), "tracking.uri", "sqlite:///folder", "allowed is a file"),
    Bad("store no database", *uri("sqlite:///t.csv"), "tracking.uri", "sqlite:///t.csv", "name another file"),
    Bad("store of another", *uri("sqlite:///other.db"), "tracking.uri", "sqlite:///other.db", "name another file"),
    Bad("no database", "trials: 3", "trials: 3, storage: study.db", "search.storage", "'study.db'", "sqlite:///FILE"),
    Bad(
        "database below a file",
        "trials: 3",
        "trials: 3, storage: 'sqlite:///t.csv/study.db'",
        "search.storage",
        "t.csv/study.db",
        "is no folder",
    ),
    Bad("no address", *uri("mlflow.db"), "tracking.uri", "'mlflow.db'", "sqlite:///PATH"),
    Bad("missing study file", key="", value="", allowed="study init", file="other.yaml"),
]

# Each of these cuts the data in a process of its own first, which takes seconds; three of them stand for the rest.
OWN = [
    Bad("no parameters", *model("net:bare"), "model.factory", "Flatten has no parameters", "nothing to train"),
    Bad("one axis", *model("net:flat"), "model", "(4,)", "(4, 3)", more=(("dropout: search", "l1: search"),)),
    Bad("hidden state", *model("net:counting"), "model", "Counting.calls", "register_buffer"),
    Bad("growing state", *model("net:growing"), "model", "Growing.seen", "the shape and type that it keeps"),
    Bad("batch alone", *model("net:batch"), "model", "track_running_stats=False", "GroupNorm or LayerNorm"),
    Bad(
        "infinite array", *arrays("infinite", "NaN or infinity in 1 of 40 rows, first in row 21", "python:net:infinite")
    ),
    Bad("NaN in array", *arrays("missing", "NaN or infinity in 1 of 40 rows, first in row 21", "python:net:missing")),
    Bad("ragged lists", *arrays("ragged", "x has 2 values in row 13 and 3 in row 1", "pad codes with 0")),
    Bad("ragged objects", *arrays("objects", "x has 1 values in row 13 and 2 in row 1", "pad codes with 0")),
    Bad("ragged tensors", *arrays("sequences", "x has 5 values in row 31 and 4 in row 1", "pad codes with 0")),
    Bad("targets in rows", *arrays("wide_target", "shape (1,) in row 1", "one value a row")),
    Bad("lists in cells", *arrays("listed", "column a holds several values in a cell", "first in row 1")),
    Bad(
        "a strange label",
        "csv:t.csv', target: y",
        "python:net:strange', target: y, classes: [0, 1]",
        "data.target",
        "label 7 in row 17 is outside the classes",
        "allowed are 0, 1",
    ),
    Bad(
        "a strange word",
        "target: y",
        "target: y, classes: [red, blue]",
        "data.target",
        "label green in row 3 is outside the classes, 20 of 60 rows are",
        "allowed are red, blue",
        table=rows(lambda i: ("red", "blue", "green")[i % 3]),
    ),
    Bad(
        "infinite column",
        key="data.source",
        value="column b holds infinity in 1 of 60 rows, first in row 5",
        allowed="leave the value out",
        table=rows(lambda i: i % 3).replace("\n4,6,", "\n4,inf,"),
    ),
    Bad(
        "huge column",
        key="data.source",
        value="column b holds a number beyond ±3.4e+38 in 1 of 60 rows, first in row 5",
        allowed="leave the value out",
        table=rows(lambda i: i % 3).replace("\n4,6,", "\n4,-1e39,"),
    ),
    Bad(
        "huge array", *arrays("huge", "x holds a number beyond ±3.4e+38 in 1 of 40 rows, first in row 21", "python:net")
    ),
    Bad(
        "huge target",
        "task: classification",
        REGRESSION,
        "data.target",
        "the target is beyond ±3.4e+38 in 1 of 60 rows, first in row 5",
        "leave the row out",
        table=rows(lambda i: 1e200 if i == 4 else i),
        more=(("dropout: s", "l2: s"),),
    ),
    Bad(
        "class of the latest rows",
        "{seed: 1}",
        "{by: {time: a}}",
        "data.split",
        "class 2 has no training row (6 rows, first in row 55)",
        "leave those rows out",
        table=rows(lambda i: 2 if i > 53 else i % 2),
    ),
]
