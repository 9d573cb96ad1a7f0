"""How data are cut, as the version does that sealed them: a study goes on with the rows that it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CutRules:
    """Rules of a cut that came with later forms of the manifest, see `regsearch.system.schema`.

    Args:
        every_row: every row is in a part or counted as left out, see `regsearch.data.split.split_rows`; since form 3.
        numbers_in_texts: numbers that are written as texts, and Python's own, are numbers, see
            `regsearch.data.written`; since form 4. Before, each distinct one was a category.
    """

    every_row: bool = True
    numbers_in_texts: bool = True

    @property
    def unsaid(self) -> tuple[str, ...]:
        """The fields of a manifest that stay None in data cut so."""
        rows = () if self.every_row else ("rows", "left_out")
        return rows if self.numbers_in_texts else (*rows, "written")


TODAY = CutRules()
"""The rules by which new data are cut."""
