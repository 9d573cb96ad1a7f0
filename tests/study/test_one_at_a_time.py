"""A study of a ConvNet that trains one trial at a time: the width 1 is recorded, resumed, tested and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regsearch.cli.printing import speed
from regsearch.study.runner import Interrupted
from regsearch.study.study import Study

TEXT = """
name: NAME
data: {source: "sklearn:digits", shape: [1, 8, 8], split: {train: 96, validation: 96, test: 200}}
model: {name: convnet, channels: [4]}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
space: {dropout: search, l2: search}
search: {trials: 8, parallel: 4, SEARCH}
finalize: {seeds: 2, top: 1}
"""


def study(folder: Path, name: str, search: str) -> Study:
    file = folder / f"{name}.yaml"
    file.write_text(TEXT.replace("NAME", name).replace("SEARCH", search))
    return Study.from_file(file)


@pytest.mark.sweep
def test_the_recorded_width_holds_for_the_life_of_a_study(own_folder: Path) -> None:
    undisturbed = study(own_folder, "undisturbed", "width: 1, workers: 2").run()
    assert undisturbed.pack == {"width": 1, "workers": 2}
    assert "2 workers with one trial at a time" in str(speed(undisturbed))

    stopped = study(own_folder, "stopped", "workers: 1")
    with pytest.raises(Interrupted):
        stopped.run(timeout=1e-3)
    machine = stopped.folder / "machine.json"
    known = json.loads(machine.read_text())
    assert known["width"] in (1, 2), "two lanes of each cohort make a pack of two"
    # As if this machine had found it the fastest.
    machine.write_text(json.dumps({**known, "width": 1}))
    found = study(own_folder, "stopped", "workers: 1").resume()
    assert found.pack == {"width": 1, "workers": 1}
    assert (found.best, found.sentence) == (undisturbed.best, undisturbed.sentence)
    assert json.loads(machine.read_text())["width"] == 1
    for number in (0, 3):
        again = stopped.replay(number)
        assert again.agrees and again.values, again.sentence()
