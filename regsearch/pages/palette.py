"""The colours of a page, light and dark, as style sheet variables; and how far two of them are apart.

Text and its paper are at least 4.5 to 1 apart, marks and lines at least 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11).
"""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "panel": "#f5f6f8",
    "ink": "#1c2127",
    "quiet": "#525c68",
    "rule": "#d3d9e0",
    "link": "#0b5cad",
    "winner": "#0069ab",
    "baseline": "#b54708",
    "yes": "#12693c",
    "no": "#8a4b00",
    "set0": "#007a58",
    "set1": "#b03a7f",
    "set2": "#1b7fb8",
    "set3": "#8f6b00",
    "set4": "#6d45ad",
    "set5": "#6e6e6e",
    "rank0": "#0a3d73",
    "rank1": "#1c65a8",
    "rank2": "#3f86c6",
    "rank3": "#7b8fa6",
    "rank4": "#949494",
}
"""Winner, baseline and the sets are after Okabe and Ito (2008), darkened until they can be text; `rank0` is the best
fifth of the trials, `rank4` the worst."""
DARK: Mapping[str, str] = {
    "paper": "#14181d",
    "panel": "#1d232a",
    "ink": "#e8ebee",
    "quiet": "#a9b3be",
    "rule": "#3a434d",
    "link": "#7cbcff",
    "winner": "#5fb4f2",
    "baseline": "#ff9e57",
    "yes": "#5fd08f",
    "no": "#f2b45c",
    "set0": "#3fc79a",
    "set1": "#ee8dc4",
    "set2": "#6cc6f5",
    "set3": "#e0b840",
    "set4": "#b89cf0",
    "set5": "#a3a3a3",
    "rank0": "#9fd4ff",
    "rank1": "#5aa9e6",
    "rank2": "#4384ba",
    "rank3": "#617387",
    "rank4": "#5f5f5f",
}
TEXTS = ("ink", "quiet", "link", "winner", "baseline", "yes", "no")
"""What is written in; all else but the papers and the rules of tables is drawn in."""
PAPERS = ("paper", "panel")
SETS = RANKS = 5
"""The last set is that of all sets that come after the others."""


def contrast(one: str, other: str) -> float:
    """Compute the contrast ratio of two colours `#rrggbb`, 1 to 21, whatever their order.

    (L1 + 0.05) / (L2 + 0.05) of the relative luminances, L1 the larger: WCAG 2.2, "contrast ratio".
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def variables(colours: Mapping[str, str]) -> str:
    """Format the colours as declarations of a style sheet."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _luminance(colour: str) -> float:
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
