"""The README.md of an exported folder: the answer, how to ask the model, what it takes, what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regsearch.system.files import JsonMapping
from regsearch.system.sums import SUMS

VALUES = ("regression", "forecasting", "recommendation")
_MOST_WORDS = 8


def readme(
    name: str,
    sentence: str,
    origin: str,
    manifest: JsonMapping,
    versions: Mapping[str, str],
    example: str | None,
    onnx: bool,
) -> str:
    """Write the README of an exported folder, as Markdown.

    Args:
        name: the study's.
        sentence: its answer.
        origin: where the champion came from, in words.
        manifest: of the sealed split, see `regsearch.data.Manifest`.
        versions: by package, what it was exported with.
        example: the file with example rows, where there is one.
        onnx: there is a `model.onnx`.
    """
    parts = [f"# {name}", sentence, _use(manifest, example), _takes(manifest), _gives(manifest)]
    if onnx:
        parts.append(_onnx(manifest))
    return "\n\n".join([*filter(None, parts), _made(origin, manifest, versions)]) + "\n"


def _use(manifest: JsonMapping, example: str | None) -> str:
    file = example or ("rows.csv" if manifest.get("preprocessing") else "rows.npy")
    own = (
        "an array of your own, a numpy.ndarray" if file.endswith(".npy") else "a table of your own, a pandas.DataFrame"
    )
    return f"""## Use it

It needs Python and the packages of requirements.txt, not regsearch.

```sh
pip install -r requirements.txt
python predict.py {file} > answers.csv
```

```python
from predict import load

model = load()
answers = model(model.read("{file}"))  # or {own}
```

Each value is read by itself, whatever stands in other rows.

A row that cannot be answered ends in one line that names the column, and exit code 2 (from Python: `ValueError`)."""


def _takes(manifest: JsonMapping) -> str:
    preprocessing = manifest.get("preprocessing")
    if preprocessing is None:
        shape = ", ".join(map(str, ("N", *manifest["inputs"])))
        return f"## What it takes\n\nAn array [{shape}] of {manifest.get('dtype') or 'float32'}, without gaps."
    rows = [f"| {_cell(column['name'])} | {_kind(column)} | {_gap(column)} |" for column in preprocessing["columns"]]
    head = "A table with these columns, in any order; others are ignored.\n\n| column | holds | gaps and strangers |"
    text = "\n".join([f"## What it takes\n\n{head}\n|---|---|---|", *rows])
    if preprocessing.get("window"):
        text += f"\n\nRows in the order of time; a forecast sees the {preprocessing['window']} latest."
    if preprocessing.get("series"):
        name = _cell(preprocessing["series"])
        text += f" The column {name} is needed too: it tells series apart, and the answer says in {name} whose it is."
    return text


def _kind(column: JsonMapping) -> str:
    if column["kind"] == "numeric":
        return f"numbers, around {column['mean']:.4g} ± {column['scale']:.4g} in training"
    if column["kind"] == "categorical":
        return f"one of {len(column['categories'])} words: {_words(column['categories'])}"
    if column["kind"] == "code":
        return f"one of {len(column['values'])} names: {_words(column['values'])}"
    part = f"the {column['keep']} {column['length']} {column['level']} of it are read"
    return f"text; {part}"


def _gap(column: JsonMapping) -> str:
    if column["kind"] == "numeric":
        return f"a gap counts as the median, {column['median']:.4g}"
    if column["kind"] == "categorical":
        return f"a gap counts as {_cell(column['most_frequent'])}, an unknown word as none of them"
    if column["kind"] == "code":
        return "an unknown name is answered as the average one"
    return "a gap is an empty text, an unknown token counts as unknown"


def _words(values: Sequence[object]) -> str:
    shown = ", ".join(_cell(value) for value in values[:_MOST_WORDS])
    return shown + (", ..." if len(values) > _MOST_WORDS else "")


def _cell(value: object) -> str:
    """Text that a cell of a Markdown table can hold."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _gives(manifest: JsonMapping) -> str:
    task, target = manifest["task"], _cell(manifest.get("target") or "the target")
    if task in VALUES:
        horizon = int(manifest.get("outputs") or 1)
        values = (
            f"{target} in its own units" if horizon == 1 else f"{target} for the next {horizon} steps, a column each"
        )
        return f"## What it gives\n\nA row for each row: {values}."
    if task == "clustering":
        return "## What it gives\n\nA row for each row: its code, a column a dimension."
    classes = manifest.get("classes") or list(range(int(manifest["outputs"])))
    of = "token after the text" if task == "language_modelling" else "class"
    return f"## What it gives\n\nA row for each row: the probability of each {of}, a column each: {_words(classes)}."


def _onnx(manifest: JsonMapping) -> str:
    shape = ", ".join(map(str, ("N", *manifest["inputs"])))
    features = "what `load().features(table)` makes of raw columns" if manifest.get("preprocessing") else "the array"
    out = {
        "classification": "scores, whose softmax is the probabilities",
        "language_modelling": "scores of the next token at every position, whose softmax is the probabilities",
        "clustering": "the inputs as rebuilt, then the code",
    }.get(manifest["task"], "values, times `target_scale` plus `target_mean` of manifest.json in the target's units")
    dtype = manifest.get("dtype") or "float32"
    return f"""## ONNX

`model.onnx` is the program alone, for runtimes without torch: `rows`, {dtype} [{shape}], {features}; `outputs`,
{out}. It was run beside the torch program and agrees to 1e-5."""


def _made(origin: str, manifest: JsonMapping, versions: Mapping[str, str]) -> str:
    numbers = ", ".join(f"{package} {number}" for package, number in versions.items())
    sizes = ", ".join(f"{count:,} {part}" for part, count in manifest["sizes"].items())
    return f"""## What it is made of

- the champion of {origin}
- trained on `{manifest["source"]}`, split into {sizes} rows; digest of the split `{manifest["digest"]}`
- exported with {numbers}
- `{SUMS}`: `sha256sum --check {SUMS}` says whether a file was damaged or changed"""
