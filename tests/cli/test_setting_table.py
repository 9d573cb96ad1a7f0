"""Settings stand beside their numbers where there is room, and below them in full where there is not."""

from __future__ import annotations

import pytest
from rich.console import Console

from regsearch.cli.setting_table import setting_table

LONG = "elastic net λ=0.00044 (l1 ratio 0.23), dropout 0.065, clip by norm 0.15"
SHORT = "dropout 0.5"
HEADER = ["", "setting", "test", "winner - it", "p (Holm)"]


def finals(test: str, span: str, change: str, changes: str) -> list[list[str]]:
    return [
        HEADER,
        ["best single", LONG, test, change, "0.753"],
        ["  95 % interval", "", span, changes, ""],
        ["library default", SHORT, test, change, "0.753"],
        ["  95 % interval", "", span, changes, ""],
    ]


SHARES = finals("0.955", "0.944 to 0.965", "+0.001", "-0.005 to +0.007")
PRICES = finals("45,955.12", "44,955.12 to 46,955.12", "+1,234.10", "-1,234.10 to +2,234.10")
MILLIONS = finals("1,245,955.12", "1,244,955.12 to 1,246,955.12", "+123,234.10", "-123,234.10 to +223,234.10")
FRONT = [["trial", "val_balanced_accuracy", "generalization_gap", "weights_sparsity", "setting"]]
FRONT += [[str(number), "0.1235", "0.1235", "0.1235", LONG.replace(" ", "_")] for number in (3, 17)]


def lines(rows: list[list[str]], width: int, ruled: bool = True) -> list[str]:
    console = Console(width=width, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(setting_table(rows, width, ruled=ruled))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("rows", [SHARES, PRICES, MILLIONS, FRONT], ids=["shares", "prices", "millions", "front"])
@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_nothing_is_cut_and_no_setting_is_squeezed(rows: list[list[str]], width: int) -> None:
    """A setting once stood in a column of one letter, beside intervals of prices."""
    shown = lines(rows, width)
    assert all(len(line) <= width for line in shown) and "…" not in "".join(shown)
    assert len(shown) <= 4 * len(rows)
    letters = "".join("".join(shown).split())
    for word in (word for row in rows for cell in row if cell != "setting" for word in cell.replace("_", " ").split()):
        assert word in letters or width == 60, "on 60 columns a number may be folded"


def test_a_setting_that_has_no_room_goes_below_its_row() -> None:
    assert lines(PRICES, 80) == [
        "                  test                     winner - it              p (Holm)",
        "─" * 76,
        "best single       45,955.12                +1,234.10                0.753",
        "  95 % interval   44,955.12 to 46,955.12   -1,234.10 to +2,234.10",
        f"  {LONG}",
        "library default   45,955.12                +1,234.10                0.753",
        "  95 % interval   44,955.12 to 46,955.12   -1,234.10 to +2,234.10",
        f"  {SHORT}",
    ]


def test_a_setting_that_has_room_stays_beside_its_numbers() -> None:
    rows = [HEADER, *SHARES[3:]]
    assert lines(rows, 80)[2] == "library default   dropout 0.5   0.955            +0.001             0.753"
    assert lines(SHARES, 160)[2].startswith(f"best single       {LONG}   0.955")
    assert [line[18:53].strip() for line in lines(SHARES, 100)[2:5]] == [
        "elastic net λ=0.00044 (l1 ratio",
        "0.23), dropout 0.065, clip by norm",
        "0.15",
    ]


def test_names_of_objectives_are_whole() -> None:
    shown = lines(FRONT, 80, ruled=False)
    assert shown[0] == "trial  val_balanced_accuracy  generalization_gap  weights_sparsity"
    assert shown[2] == f"  {LONG.replace(' ', '_')}"
