"""Who knows a rule of the user's own: a script and its workers, a session that imports it; the command line does not,
says how it is made known, and loses nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.documents import run, run_both

SCRIPT = """
from regsearch import Study
from regsearch.regularizers import Activation, Paper, Strength, knob, regularizer


@regularizer
class Fading(Activation):
    \"\"\"Fade each unit: h * (1 - share).\"\"\"

    source = Paper("Nobody", 2026, "https://example.org")
    share: Strength = knob(0.0, 0.5, off=0.0, unit="share", doc="what is lost")

    def activation(self, h, ctx):
        return h * (1 - self.share)


if __name__ == "__main__":
    Study.from_file("scripted.yaml").run()
"""
STUDY = """
name: scripted
data: {source: "sklearn:wine"}
model: {name: mlp, hidden: [8]}
train: {epochs: 1}
space: {fading: search}
search: {trials: 2, parallel: 2, workers: 1}
finalize: {seeds: 2}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # some ten seconds on an idle machine
def test_the_command_line_says_how_and_the_answer_stays(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "scripted.yaml").write_text(STUDY)
    run(["python", "script.py"], tmp_path)
    before = json.loads(run(["regsearch", "study", "show", "scripted", "--json"], tmp_path))
    assert before["finals"] is not None
    for words in ("study finalize scripted", "trial replay scripted 1", "study report scripted"):
        with pytest.raises(AssertionError) as refused:
            run_both(["regsearch", *words.split()], tmp_path)
        line = str(refused.value).splitlines()[-1]
        assert line.startswith("regsearch: space.fading: unknown regularizer (got 'fading'); ")
        assert line.endswith("; one of your own needs its entry point regsearch.regularizers, and pip install .")
    assert json.loads(run(["regsearch", "study", "show", "scripted", "--json"], tmp_path)) == before


CURVES = """
frame = Study.open("scripted").frame()
print(frame[frame["kind"] == "trial"].sort_values("number")[["train_loss", "val_loss"]].to_json(orient="values"))
"""
SESSION = "from regsearch import Study\nStudy.from_file('scripted.yaml').run(replace=True)\n"


@pytest.mark.slow
@pytest.mark.timeout(600)  # some fifteen seconds on an idle machine
def test_workers_know_what_a_session_imports(tmp_path: Path) -> None:
    """As in a notebook, `__main__` is no file. Workers that did not know the rule once trained without it."""
    (tmp_path / "script.py").write_text(SCRIPT.replace("0.0, 0.5", "0.4, 0.5"))
    (tmp_path / "scripted.yaml").write_text(STUDY)
    run(["python", "script.py"], tmp_path)
    by_script = run(["python", "-c", "from regsearch import Study" + CURVES], tmp_path)
    (tmp_path / "fading.py").write_text((tmp_path / "script.py").read_text())
    run(["python", "-c", f"import fading\n{SESSION}"], tmp_path)
    assert run(["python", "-c", "from regsearch import Study" + CURVES], tmp_path) == by_script
    baseline, other = json.loads(by_script)
    assert baseline != other


def test_a_rule_of_a_session_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scripted.yaml").write_text(STUDY)
    cells = SCRIPT.partition("if __name__")[0] + SESSION
    done = forked.run(["-c", cells], tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("regsearch.errors.UserError: space.fading: this rule is declared in a notebook or a session")
    assert line.endswith("; save the script as a file, or put it into a module beside the study file and import that")
    assert not (tmp_path / "mlruns").exists()


PIPED = """
import torch
from regsearch import Study

def build(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Linear(inputs[0], 8), torch.nn.ReLU(), torch.nn.Linear(8, outputs))

if __name__ == "__main__":
    print(Study.from_file("scripted.yaml").run().sentence)
"""


@pytest.mark.parametrize("factory", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)  # some twelve seconds on an idle machine
def test_a_script_from_standard_input(factory: bool, tmp_path: Path) -> None:
    text = STUDY.replace("fading", "dropout")
    model = 'model: {factory: "__main__:build"}'
    (tmp_path / "scripted.yaml").write_text(text.replace("model: {name: mlp, hidden: [8]}", model) if factory else text)
    done = subprocess.run(
        [sys.executable, "-"], input=PIPED, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    if factory:
        assert done.returncode == 1
        assert "UserError: model.factory: this model is declared in " in done.stderr.splitlines()[-1]
        assert "; save the script as a file, or " in done.stderr.splitlines()[-1]
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("On 36 unseen rows, ")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_that_cannot_import_a_rule_do_not_train_without_it(tmp_path: Path) -> None:
    (tmp_path / "scripted.yaml").write_text(STUDY)
    declared = SCRIPT.partition("if __name__")[0]
    session = (
        "import sys, types\n"
        "elsewhere = sys.modules['elsewhere'] = types.ModuleType('elsewhere')  # in no file\n"
        f"exec({declared!r}, vars(elsewhere))\n{SESSION}"
    )
    done = forked.run(["-c", session], tmp_path)
    assert done.returncode == 1
    assert "UserError: space.fading: this rule is unknown where trials train" in done.stderr.splitlines()[-1]
