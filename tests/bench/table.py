"""The rows of the result and how they are shown."""

from dataclasses import dataclass
from pathlib import Path

_BEGIN, _END = "<!-- bench:begin -->", "<!-- bench:end -->"
_HEAD = ("figure", "goal", "Parley", "a2a-sdk", "ratio", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None for figures that stand beside a goal to explain it."""

    figure: str
    goal: str
    parley: str
    sdk: str = "–"
    ratio: str = "–"
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return self.figure, self.goal, self.parley, self.sdk, self.ratio, met


def at_least(figure: str, goal: float, parley: float, sdk: float, unit: str) -> Row:
    """A row for a figure that should be `goal` times the SDK's or more."""
    ratio = parley / sdk
    return Row(
        figure, f"≥ {goal:g}×", f"{parley:,.0f} {unit}", f"{sdk:,.0f} {unit}", f"{ratio:.1f}×", ratio >= goal
    )


def markdown(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(rows: list[Row]) -> str:
    """The rows in columns for a terminal."""
    lines = [_HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def write(document: Path, text: str) -> None:
    """Put `text` between the document's markers. Raises ValueError when it has none."""
    before, begin, rest = document.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document} lacks {_BEGIN} … {_END}")
    document.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}")
