"""Versions of an agent side by side: what each says, and where they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parley_registry.searching.document import media_type


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that cards say, for each of the versions compared."""

    label: str
    cells: tuple[tuple[str, ...], ...]

    @property
    def differs(self) -> bool:
        """Whether the versions do not all say the same."""
        return len(set(self.cells)) > 1

    def everywhere(self, line: str) -> bool:
        """Whether all versions say this line."""
        return all(line in cell for cell in self.cells)


def rows(cards: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows for these cards, each cell with its lines in order; rows that no card says anything for are left out."""
    told = [_said(card) for card in cards]
    made = [Row(label, tuple(tuple(one[label]) for one in told)) for label in told[0]]
    return [row for row in made if any(row.cells)]


def _said(card: Mapping[str, Any]) -> dict[str, list[str]]:
    capabilities = card.get("capabilities", {})
    interfaces = card.get("supportedInterfaces", [])
    return {
        "Description": [card.get("description", "")],
        "Skills": sorted(f"{skill['id']}: {skill['name']}" for skill in card.get("skills", [])),
        "Tags": sorted({tag for skill in card.get("skills", []) for tag in skill["tags"]}),
        "Capabilities": sorted(
            [name for name, value in capabilities.items() if value is True]
            + [extension["uri"] for extension in capabilities.get("extensions", [])]
        ),
        "Input": sorted({media_type(mode) for mode in card.get("defaultInputModes", [])}),
        "Output": sorted({media_type(mode) for mode in card.get("defaultOutputModes", [])}),
        "Interfaces": sorted({f"{one['protocolBinding']} {one['protocolVersion']}" for one in interfaces}),
        "Asks for": sorted(card.get("securitySchemes", {})),
        "Provider": [provider] if (provider := card.get("provider", {}).get("organization", "")) else [],
    }
