"""Study files: what is read; all else is refused in one line with file, key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from regsearch.config import ModelConfig, StartOptions, StudyConfig, TrainConfig, load_config
from regsearch.config.yaml12 import read_yaml
from regsearch.errors import UserError

BASE = {"name": "name: digits", "data": "data: {source: 'sklearn:digits'}", "model": "model: {name: mlp}"}


def written(folder: Path, *lines: str, **sections: str) -> Path:
    """A study file: the smallest one, with `sections` in place of its own and `lines` below."""
    path = folder / "study.yaml"
    path.write_text("\n".join([*{**BASE, **sections}.values(), *lines]) + "\n")
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_the_smallest_study_gets_every_default(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert (config.search.trials, config.search.parallel, config.search.pruner) == (100, 32, "asha")
    assert (config.train.epochs, config.train.optimizer, config.finalize.seeds) == (30, "adamw", 10)
    assert config.model.options == {"hidden": [128, 128], "activation": "relu", "norm": "none", "residual": False}
    assert config.space is None
    assert config.folder == str(tmp_path)


def test_a_full_study_reads_as_written(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "train: {epochs: 7, batch_size: 16, optimizer: sgd, learning_rate: 1e-2, betas: [0.8, 0.99]}",
        "space: {dropout: {p: {low: 0.0, high: 0.6}}, early_stopping: {patience: off}}",
        "search: {sampler: random, pruner: {name: median, n_warmup_steps: 3}, trials: 5, objective: [val_loss, gap]}",
        "finalize: {top: 3, seeds: 4}",
        "tracking: {uri: 'http://127.0.0.1:5000', models: all}",
        data="data: {source: 'csv:a.csv', target: y, task: regression, split: {train: 300, by: {group: site}}}",
        model="model: {factory: 'net:build', depth: 3}",
    )
    config = load_config(path)
    assert config.train == TrainConfig(epochs=7, batch_size=16, optimizer="sgd", learning_rate=0.01, betas=(0.8, 0.99))
    assert config.space == {"dropout": {"p": {"low": 0.0, "high": 0.6}}, "early_stopping": {"patience": "off"}}
    assert (config.search.pruner_name, config.search.pruner_options) == ("median", {"n_warmup_steps": 3})
    assert config.search.objectives == ("val_loss", "gap")
    assert (config.data.split.kind, config.data.split.column, config.data.split.train) == ("group", "site", 300)
    assert config.model.options == {"depth": 3}


def test_options_of_the_command_line_take_the_place_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "search: {trials: 5, seed: 1}")
    config = load_config(path, StartOptions(trials=9, seed=8, tracking_uri="sqlite:///x.db"))
    assert (config.search.trials, config.search.seed, config.tracking.uri) == (9, 8, "sqlite:///x.db")
    with pytest.raises(UserError, match=r"^--trials: .*got 0.*whole numbers from 1 up"):
        load_config(path, StartOptions(trials=0))


def test_json_round_trip_is_canonical(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "space: {choose: one, from: [l2, l1], max_norm: {max_norm: .inf}}",
        "search: {objective: [val_loss, gap]}",
        model="model: {factory: 'a:b', options_of_mine: [1]}",
    )
    config = load_config(path)
    text = config.to_json()
    again = StudyConfig.from_json(text)
    assert again == config
    assert again.to_json() == text
    other = load_config(written(tmp_path, "space: {choose: one, from: [l1, l2], max_norm: {max_norm: .inf}}"))
    assert other.to_json() != text
    with pytest.raises(UserError, match=r"^study.json: search.trials: .*got 0"):
        StudyConfig.from_json(text.replace('"trials": 100', '"trials": 0'), "study.json")
    with pytest.raises(UserError, match=r"^study.json: not a study's record"):
        StudyConfig.from_json(text[:40], "study.json")


def test_models_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().epochs = 3
    assert ModelConfig.model_validate({"name": "linear"}).options == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1.0e+3", 1000.0),
        ("5e3", 5000.0),
        (".5", 0.5),
        ("-.inf", -float("inf")),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("+7", 7),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("'1'", "1"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read_yaml(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_words_whatever_they_look_like() -> None:
    assert read_yaml("off: 1\n2024: 2\ntrue: 3") == {"off": 1, "2024": 2, "true": 3}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key a stands twice, first in line 1"),
        ("a:\n  x: 1\n  x: 2", 3, "the key x stands twice"),
        ("a: {x: 1, x: 2}", 1, "the key x stands twice"),
        ("a: [1", 1, "expected"),
        ("a:\n\tb: 1", 2, "cannot start any token"),
        ("a: !!python/object:os.system x", 1, "could not determine a constructor"),
        ("a: &a [*a]", 1, "recursive"),
        ("a: 1\n---\nb: 2", 2, "another document"),
    ],
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    said = refused(path)
    assert said.startswith(f"line {line}: ")
    assert reason in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"- a\n- b\n", "has no keys"),
        (b"\xff\xfe\xff", "is not text"),
        (b"a: \x00", "special characters"),
    ],
)
def test_a_file_that_holds_no_study(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    assert reason in refused(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such study file" in refused(tmp_path / "nothing.yaml")
    assert "cannot be read" in refused(tmp_path)


# What stands below the smallest study; then the key, the value and what is allowed, as the line must say them.
BAD_LINES = [
    ("trails: 3", "trails", "3", "search"),
    ("folder: x", "folder", "x", "name, data, model, train, space, search, finalize, tracking"),
    ("search: {trails: 3}", "search.trails", "3", "(did you mean trials?)"),
    ("search: {trials: 0}", "search.trials", "0", "whole numbers from 1 up"),
    ("search: {trials: -3}", "search.trials", "-3", "whole numbers from 1 up"),
    ("search: {trials: 3.5}", "search.trials", "3.5", "whole numbers from 1 up"),
    ("search: {trials: '9'}", "search.trials", "'9'", "whole numbers from 1 up"),
    ("search: {trials: yes}", "search.trials", "'yes'", "whole numbers from 1 up"),
    ("search: {trials: true}", "search.trials", "true", "whole numbers from 1 up"),
    ("search: {trials: }", "search.trials", "is empty", "whole numbers from 1 up"),
    ("search: {parallel: 0}", "search.parallel", "0", "whole numbers from 1 up"),
    ("search: {width: 0}", "search.width", "0", "whole numbers from 1 up"),
    ("search: {seed: -1}", "search.seed", "-1", "whole numbers from 0 up"),
    ("search: {engine: ray_tuna}", "search.engine", "'ray_tuna'", "(did you mean ray_tune?)"),
    ("search: {engine: ray_tune, algorithm: hyperop}", "search.algorithm", "'hyperop'", "(did you mean hyperopt?)"),
    ("search: {engine: ray_tune, scheduler: {name: ahsa}}", "search.scheduler", "'ahsa'", "(did you mean asha?)"),
    ("search: {engine: ray_tune, sampler: random}", "search.sampler", "'random'", "algorithm and scheduler"),
    ("search: {scheduler: pbt}", "search.scheduler", "'pbt'", "engine optuna has sampler and pruner"),
    (
        "search: {engine: ray_tune, scheduler: pbt, algorithm: optuna}",
        "search.algorithm",
        "'optuna'",
        "allowed is random",
    ),
    ("search: {sampler: tep}", "search.sampler", "'tep'", "(did you mean tpe?)"),
    ("search: {pruner: ahsa}", "search.pruner", "'ahsa'", "(did you mean asha?)"),
    ("search: {pruner: {name: no}}", "search.pruner", "'no'", "asha, hyperband, median, patient, none"),
    ("search: {pruner: 3}", "search.pruner", "3", "asha, hyperband, median, patient, none"),
    ("search: {objective: []}", "search.objective", "[]", "one or more tracked metrics"),
    ("search: {objective: [gap, gap]}", "search.objective", "'gap'", "each once"),
    (
        "search: {deterministic: false}",
        "search.deterministic",
        "False",
        "engine ray_tune decides in the order of arrival",
    ),
    ("search: {deterministic: on}", "search.deterministic", "'on'", "true and false"),
    ("search: [a]", "search", "['a']", "a section with the keys engine, sampler"),
    ("train: {epochs: 0}", "train.epochs", "0", "whole numbers from 1 up"),
    ("train: {batch_size: 0}", "train.batch_size", "0", "whole numbers from 1 up"),
    ("train: {learning_rate: 0}", "train.learning_rate", "0", "numbers above 0"),
    ("train: {learning_rate: .inf}", "train.learning_rate", "inf", "numbers above 0"),
    ("train: {learning_rate: .nan}", "train.learning_rate", "nan", "numbers above 0"),
    ("train: {learning_rate: fast}", "train.learning_rate", "'fast'", "numbers above 0"),
    ("train: {momentum: 1}", "train.momentum", "1", "0 to below 1"),
    ("train: {warmup: 1}", "train.warmup", "1", "0 to below 1"),
    ("train: {step_every: 0}", "train.step_every", "0", "numbers above 0 to 1"),
    ("train: {step_factor: 2}", "train.step_factor", "2", "numbers above 0 to 1"),
    ("train: {schedule: cosin}", "train.schedule", "'cosin'", "(did you mean cosine?)"),
    ("train: {betas: [0.9, 2]}", "train.betas[1]", "2", "two numbers from 0 to below 1"),
    ("train: {betas: 0.9}", "train.betas", "0.9", "two numbers from 0 to below 1"),
    ("train: {optimizer: sgb}", "train.optimizer", "'sgb'", "(did you mean sgd?)"),
    ("train: {penalize_bias: yes}", "train.penalize_bias", "'yes'", "true and false"),
    ("space: 3", "space", "3", "choose and from"),
    ("space: [l1]", "space", "['l1']", "choose and from"),
    ("finalize: {seeds: -1}", "finalize.seeds", "-1", "whole numbers from 0 up"),
    ("finalize: {top: 0}", "finalize.top", "0", "whole numbers from 1 up"),
    ("tracking: {uri: 3}", "tracking.uri", "3", "text"),
    ("tracking: {models: best}", "tracking.models", "'best'", "champion, finals, all"),
]


@pytest.mark.parametrize(("line", "key", "value", "allowed"), BAD_LINES, ids=[row[0] for row in BAD_LINES])
def test_bad_lines(tmp_path: Path, line: str, key: str, value: str, allowed: str) -> None:
    said = refused(written(tmp_path, line))
    assert said.startswith(f"{key}: ")
    assert value in said
    assert allowed in said


CSV = "source: 'csv:a.csv', target: y, task: regression"
BAD_SECTIONS = [
    ("name", "a b", "name", "'a b'", "letters, digits"),
    ("name", "..", "name", "'..'", "letters, digits"),
    ("name", "a/b", "name", "'a/b'", "letters, digits"),
    ("name", "'-a'", "name", "'-a'", "letters, digits"),
    ("name", "3", "name", "3", "in quotes"),
    ("name", "", "name", "is missing", "text"),
    ("data", "", "data", "is missing", "source, target, task, split"),
    ("data", "{}", "data.source", "is missing", "text"),
    ("data", "{source: digits}", "data.source", "'digits'", "KIND:NAME"),
    ("data", "{source: 'csv:'}", "data.source", "'csv:'", "KIND:NAME"),
    ("data", "{sauce: 'sklearn:digits'}", "data.sauce", "'sklearn:digits'", "(did you mean source?)"),
    ("data", "{source: 'csv:a.csv', target: y}", "data.task", "is missing", "classification, regression, forecasting"),
    ("data", "{source: 'csv:a.csv', task: regression}", "data.target", "is missing", "column"),
    (
        "data",
        "{source: 'csv:a.csv', target: y, task: regresion}",
        "data.task",
        "'regresion'",
        "(did you mean regression?)",
    ),
    ("data", f"{{{CSV}, split: {{train: 0}}}}", "data.split.train", "0", "above 0"),
    ("data", f"{{{CSV}, split: {{validation: -0.1}}}}", "data.split.validation", "-0.1", "above 0"),
    ("data", f"{{{CSV}, split: {{train: 20.5}}}}", "data.split.train", "20.5", "whole numbers of rows"),
    ("data", f"{{{CSV}, split: {{train: .nan}}}}", "data.split.train", "nan", "shares"),
    ("data", f"{{{CSV}, split: {{train: half}}}}", "data.split.train", "'half'", "shares"),
    ("data", f"{{{CSV}, split: {{train: 0.9}}}}", "data.split", "1.3", "a sum up to 1"),
    ("data", f"{{{CSV}, split: {{by: tim}}}}", "data.split.by", "'tim'", "{time: COLUMN}"),
    ("data", f"{{{CSV}, split: {{by: {{tme: x}}}}}}", "data.split.by", "'tme'", "COLUMN"),
    ("data", f"{{{CSV}, split: {{by: {{time: x, group: y}}}}}}", "data.split.by", "'group'", "one of"),
    ("data", f"{{{CSV}, split: {{embargo: 3}}}}", "data.split.embargo", "3", "by: {time: COLUMN}"),
    ("data", f"{{{CSV}, split: {{time_format: '%Y'}}}}", "data.split.time_format", "'%Y'", "by: {time: COLUMN}"),
    ("data", f"{{{CSV}, split: {{by: {{time: x}}, time_format: '%Q'}}}}", "data.split.time_format", "'%Q'", "%d.%m.%Y"),
    (
        "data",
        f"{{{CSV}, split: {{by: {{time: x}}, time_format: dd.mm}}}}",
        "data.split.time_format",
        "'dd.mm'",
        "%d.%m",
    ),
    ("data", f"{{{CSV}, text: {{colum: x}}}}", "data.text.colum", "'x'", "(did you mean column?)"),
    ("data", f"{{{CSV}, text: {{length: 9}}}}", "data.text.column", "is missing", "text is needed"),
    ("data", f"{{{CSV}, text: 5}}", "data.text", "5", "a section with the keys column, level, length, vocabulary"),
    ("data", f"{{{CSV}, series: store}}", "data.series", "'store'", "only forecasting may say it"),
    ("data", f"{{{CSV}, split: {{test: 0.0}}}}", "data.split.test", "0", "finalize: {seeds: 0}"),
    ("data", f"{{{CSV}, split: {{by: {{column: p}}, test: 0.3}}}}", "data.split.test", "0.3", "leave it out"),
    ("model", "", "model", "is missing", "name, factory"),
    ("model", "mlp", "model", "'mlp'", "name, factory"),
    ("model", "{hidden: [3]}", "model", "neither name nor factory", "factory (MODULE:CALLABLE)"),
    ("model", "{name: mlp, factory: 'a:b'}", "model", "both", "allowed is one"),
    ("model", "{name: mpl}", "model.name", "'mpl'", "(did you mean mlp?)"),
    ("model", "{factory: net.build}", "model.factory", "'net.build'", "MODULE:CALLABLE"),
    ("model", "{name: mlp, hiden: [3]}", "model.hiden", "[3]", "(did you mean hidden?)"),
    ("model", "{name: mlp, hidden: [8, 0]}", "model.hidden[1]", "0", "whole numbers from 1 up"),
    ("model", "{name: mlp, hidden: 8}", "model.hidden", "8", "a list of whole numbers"),
    ("model", "{name: mlp, activation: reul}", "model.activation", "'reul'", "(did you mean relu?)"),
    ("model", "{name: linear, hidden: [3]}", "model.hidden", "[3]", "no keys"),
]


@pytest.mark.parametrize(
    ("section", "text", "key", "value", "allowed"), BAD_SECTIONS, ids=[row[1] for row in BAD_SECTIONS]
)
def test_bad_sections(tmp_path: Path, section: str, text: str, key: str, value: str, allowed: str) -> None:
    said = refused(written(tmp_path, **{section: f"{section}: {text}"}))
    assert said.startswith(f"{key}: ")
    assert value in said
    assert allowed in said


def test_no_test_rows_are_allowed_without_finals(tmp_path: Path) -> None:
    data = "data: {source: 'sklearn:digits', split: {test: 0.0}}"
    assert load_config(written(tmp_path, "finalize: {seeds: 0}", data=data)).data.split.test == 0


def test_long_values_are_cut_to_one_line(tmp_path: Path) -> None:
    said = refused(written(tmp_path, f"space: [{', '.join(['dropout'] * 100)}]"))
    assert len(said) < 250
