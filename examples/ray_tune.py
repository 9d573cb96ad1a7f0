"""Let Ray Tune search, here with the algorithm of HyperOpt and asynchronous halving, while trials train in packs.

Needs `pip install 'regsearch[ray]' hyperopt`. Prints how many trials ended how, and the answer.

    python examples/ray_tune.py
"""

from __future__ import annotations

from pathlib import Path

from regsearch import Study


def main() -> None:
    """Run the study beside this file."""
    answer = Study.from_file(Path(__file__).with_name("ray_tune.yaml")).run(replace=True)
    print(f"complete {answer.complete}, pruned {answer.pruned}, failed {answer.failed}")
    print(answer.sentence)


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
