"""Search for a low loss and a small gap at once, among networks right in half of the cases or more.

Shows a list of objectives and a constraint. Prints the front, a trial a line, and the answer.

    python examples/several_objectives.py
"""

from __future__ import annotations

from pathlib import Path

from regsearch import Study


def main() -> None:
    """Run the study beside this file, and print its front."""
    answer = Study.from_file(Path(__file__).with_name("several_objectives.yaml")).run(replace=True)
    for row in answer.front or []:
        print(row)
    print(answer.sentence)


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
