"""A rule that a script declares is unknown to the command line, which says how it is made known, and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
