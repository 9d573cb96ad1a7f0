"""Use a study from Python: run it, tabulate its trials, ask which knob mattered, and train a trial again.

Shows what the command line shows, as objects. Prints the answer, the five best trials, and what the replay found.

    python examples/from_python.py
"""

from __future__ import annotations

from pathlib import Path

from regsearch import Study


def main() -> None:
    """Run the study of wine.yaml with other numbers than its file's, and look at it."""
    study = Study.from_file(Path(__file__).with_name("wine.yaml"), trials=10, seed=1)
    answer = study.run(replace=True)
    print(answer.sentence)

    runs = study.frame()  # pandas: one row per trial and final, with parameters and last metrics
    trials = runs[runs["kind"] == "trial"]
    columns = ["number", "state", "l2.strength", "dropout.p", "val_loss", "gap"]
    print(trials.nsmallest(5, "val_loss")[columns].to_string(index=False))

    again = Study.open(study.name)  # from now on the name will do, also in another process
    assert answer.best is not None
    print(again.replay(answer.best["number"]).sentence())


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
