"""Bring up to date what the documentation shows: `make docs`, after `make demo`.

From the demo's study in mlruns/: its answer, as docs/digits.json and on the pages that show it, and its learning
curves. From the declarations: the page of the regularizers. From the imports: the picture and the list of the folders.
Where there was no demo, what is shown of it stays as it is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import architecture

from regsearch.cli.printing import print_answer
from regsearch.regularizers import page
from regsearch.study.study import home
from regsearch.workspace.answer import Answer

ROOT = Path(__file__).resolve().parent.parent
ANSWER = ROOT / "docs" / "digits.json"
SHOWN = (ROOT / "README.md", ROOT / "docs" / "start" / "first-study.md")
"""The pages that show the answer, in their first block of text."""
BLOCK = re.compile(r"(?<=```text\n).*?(?=```)", re.DOTALL)


def printed(answer: Path = ANSWER) -> str:
    """What the command prints of a stored answer on 80 columns."""
    os.environ["COLUMNS"] = "80"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_answer(Answer.from_json(json.loads(answer.read_text(encoding="utf-8"))))
    return out.getvalue().lstrip("\n")


def main() -> None:
    demo = home() / "studies" / "digits"
    if (demo / "answer.json").exists():
        shutil.copyfile(demo / "answer.json", ANSWER)
        shutil.copyfile(demo / "finals" / "learning_curves.png", ROOT / "docs" / "learning_curves.png")
    else:
        sys.stderr.write("no finished demo in mlruns/: its answer and picture stay as they are\n")
    for shown in SHOWN:
        shown.write_text(BLOCK.sub(lambda _: printed(), shown.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    architecture.main()
    page.PAGE.write_text(page.render(), encoding="utf-8")


if __name__ == "__main__":
    main()
