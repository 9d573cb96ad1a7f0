"""Run every study of this folder and write what they answered into the table of README.md.

    python studies/run_all.py [NAME ...]

Named studies alone are run where names are given; the others keep their lines. A study that has its answer is not
trained again: `regsearch study delete NAME` forgets it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from regsearch.study.study import home

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- answers -->", "<!-- end of answers -->"
HEAD = (
    "| study | metric on unseen rows | baseline | winner | better by (95 % interval) | gap: baseline, winner | claim "
    "| winner's setting |\n|---|---|---|---|---|---|---|---|"
)
WORDS = {"balanced_accuracy": "balanced accuracy ↑", "rmse": "RMSE ↓", "perplexity": "perplexity ↓"}
REGSEARCH = [sys.executable, "-c", "from regsearch.cli.app import main; main()"]


def main() -> int:
    """Run the studies, print each line as it is known, and rewrite the table; 1 where a study failed."""
    known = {path.stem: path for path in sorted(HERE.glob("*.yaml"))}
    wanted = sys.argv[1:] or list(known)
    strangers = [name for name in wanted if name not in known]
    if strangers:
        print(f"no such study: {strangers[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    lines, failed = lines_of(PAGE.read_text()), False
    print(HEAD, flush=True)
    for name in wanted:
        begun = time.time()
        found = answer(known[name])
        failed |= isinstance(found, str)
        lines[name] = f"| [{name}]({name}.yaml) | {found} | | | | | | |" if isinstance(found, str) else row(name, found)
        print(lines[name], flush=True)
        print(f"{name}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
        PAGE.write_text(with_table(PAGE.read_text(), [lines[each] for each in known if each in lines]))
    return int(failed)


def answer(path: Path) -> dict[str, Any] | str:
    """The study's whole answer, as the command line leaves it behind, or why there is none."""
    done = subprocess.run([*REGSEARCH, "study", "resume", path.stem], capture_output=True, text=True)
    if done.returncode != 0:
        start = [*REGSEARCH, "study", "start", str(path), "--replace"]
        done = subprocess.run(start, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"failed: {last}".replace("|", "/")
    found: dict[str, Any] = json.loads((home() / "studies" / path.stem / "answer.json").read_text(encoding="utf-8"))
    return found if found["finals"] else "no finals"


def row(name: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    finals = found["finals"]
    contrast, winner, baseline = finals["contrast"], finals["winner"], finals["baseline"]
    share = contrast["metric"] == "balanced_accuracy"
    scale, unit = (100.0, " %") if share else (1.0, "")
    sign = scale if share else -scale
    gain = sorted(sign * (contrast[end] or 0.0) for end in ("low", "high"))
    more = "".join(f", {key} {value:.2f}" for key, value in winner.get("more", {}).items() if value is not None)
    cells = [
        f"[{name}]({name}.yaml)",
        WORDS[contrast["metric"]],
        f"{scale * baseline['test_metric']['value']:.3g}{unit}",
        f"{scale * winner['test_metric']['value']:.3g}{unit}{more}",
        "the same" if finals["same"] else f"{sign * contrast['difference']:+.2g} ({gain[0]:+.2g} to {gain[1]:+.2g})",
        f"{baseline['gap']['value']:.2g}, {winner['gap']['value']:.2g}",
        "**yes**" if finals["claim"] else "no",
        winner["label"] or "no regularization",
    ]
    return "| " + " | ".join(cells) + " |"


def lines_of(page: str) -> dict[str, str]:
    """The table's lines by study."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    return {found[1]: line for line in table.splitlines() if (found := re.match(r"\| \[([\w.-]+)\]", line))}


def with_table(page: str, lines: list[str]) -> str:
    """The page with these lines in its table."""
    before, _, rest = page.partition(BEGIN)
    return before + "\n".join([BEGIN, HEAD, *lines, END]) + rest.partition(END)[2]


if __name__ == "__main__":
    sys.exit(main())
