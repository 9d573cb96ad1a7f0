"""Draw the folders of `regsearch/` and list them, as their imports say: `python docs/architecture.py` writes both anew.

The picture is docs/concepts/architecture.svg, the list stands between two comments in docs/concepts/architecture.md.
A folder stands one row above the highest of those that it imports. Arrows that others imply are left out: where a
reaches c by way of b, no arrow goes from a to c. Standard library only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "regsearch"
PICTURE, PAGE = DOCS / "concepts" / "architecture.svg", DOCS / "concepts" / "architecture.md"
TABLE = re.compile(r"(?<=<!-- folders -->\n).*?(?=<!-- end of folders -->)", re.DOTALL)
WIDTH, BOX_WIDTH, BOX_HEIGHT, ROW_HEIGHT, MARGIN = 920, 118, 34, 76, 24

Graph = Mapping[str, set[str]]


def parts() -> dict[str, list[Path]]:
    """List the files of each folder of the package; a module beside the folders is a part of its own."""
    files: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name != "__init__":
            files.setdefault(name, []).append(file)
    return files


def imports() -> dict[str, set[str]]:
    """Read which parts each part imports, in functions and for type checking too."""
    files = parts()
    return {
        part: {name for file in own for name in _imported(file) if name in files and name != part}
        for part, own in files.items()
    }


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, *rest = name.split(".")
            if top == "regsearch" and rest:
                yield rest[0]


def ranks(graph: Graph) -> dict[str, int]:
    """Place each part one row above the highest that it imports.

    Raises:
        RecursionError: parts import one another in a loop.
    """
    known: dict[str, int] = {}

    def rank(part: str) -> int:
        if part not in known:
            known[part] = 1 + max((rank(other) for other in graph[part]), default=-1)
        return known[part]

    return {part: rank(part) for part in sorted(graph)}


def reduced(graph: Graph) -> dict[str, set[str]]:
    """Leave out every arrow that others imply."""

    def reached(part: str) -> set[str]:
        return graph[part].union(*(reached(other) for other in graph[part]))

    return {part: others - set().union(*(reached(other) for other in others)) for part, others in graph.items()}


def rows(graph: Graph) -> list[list[str]]:
    """Order the parts into rows, the top one first, each part near those that it imports."""
    rank, arrows = ranks(graph), reduced(graph)
    layers = [sorted(part for part in rank if rank[part] == level) for level in range(max(rank.values()) + 1)]
    place = {part: (k + 1) / (len(layer) + 1) for layer in layers for k, part in enumerate(layer)}
    for _ in range(4):
        for layer in layers:
            near = {part: _mean([place[other] for other in _neighbours(part, arrows)], place[part]) for part in layer}
            layer.sort(key=lambda part: (near[part], part))
            place |= {part: (k + 1) / (len(layer) + 1) for k, part in enumerate(layer)}
    return layers[::-1]


def _neighbours(part: str, arrows: Graph) -> list[str]:
    return sorted(arrows[part] | {other for other, below in arrows.items() if part in below})


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def picture() -> str:
    """Draw the rows with their arrows as SVG."""
    graph = imports()
    placed = rows(graph)
    height = 2 * MARGIN + (len(placed) - 1) * ROW_HEIGHT + BOX_HEIGHT
    centre = {
        part: (WIDTH * (k + 1) / (len(row) + 1), MARGIN + level * ROW_HEIGHT + BOX_HEIGHT / 2)
        for level, row in enumerate(placed)
        for k, part in enumerate(row)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13">',
        "<title>The folders of regsearch, each above those that it imports</title>",
        '<defs><marker id="head" markerWidth="7" markerHeight="7" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6" fill="none" stroke="#6b7a90"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    lines += [_arrow(centre[part], centre[other]) for part, below in reduced(graph).items() for other in sorted(below)]
    lines += [_box(part, *centre[part]) for row in placed for part in row]
    return "\n".join([*lines, "</svg>", ""])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    y, to_y = y + BOX_HEIGHT / 2, to_y - BOX_HEIGHT / 2
    bend = (to_y - y) / 2
    curve = f"M{x:.0f},{y:.0f} C{x:.0f},{y + bend:.0f} {to_x:.0f},{to_y - bend:.0f} {to_x:.0f},{to_y:.0f}"
    return f'<path d="{curve}" fill="none" stroke="#6b7a90" marker-end="url(#head)"/>'


def _box(part: str, x: float, y: float) -> str:
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    fill = "#eef4ff" if (PACKAGE / part).is_dir() else "#f3f3ee"
    label = f'<text x="{x:.0f}" y="{y + 4.5:.1f}" text-anchor="middle" fill="#1b2436">{escape(part)}</text>'
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" '
        f'stroke="#33415c"/>{label}'
    )


def table() -> str:
    """List the parts by row, each with the first sentence of its docstring."""
    lines = ["| folder | what it does | imports |", "|---|---|---|"]
    graph = imports()
    for row in rows(graph):
        for part in sorted(row):
            place = f"{part}/" if (PACKAGE / part).is_dir() else f"{part}.py"
            others = ", ".join(f"`{other}`" for other in sorted(graph[part])) or "nothing"
            lines.append(f"| `{place}` | {_sentence(part)} | {others} |")
    return "\n".join(lines) + "\n"


def _sentence(part: str) -> str:
    file = PACKAGE / part / "__init__.py" if (PACKAGE / part).is_dir() else PACKAGE / f"{part}.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return first.removesuffix(" Standard library only.").replace("|", r"\|")


def main() -> None:
    """Write the picture and the list."""
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
