"""Why an entry is a hit, in words: what of its card fits each criterion."""

from collections.abc import Mapping
from typing import Any

from parley_registry.searching.document import document
from parley_registry.searching.query import PLAIN, Query
from parley_registry.searching.reading import Read
from parley_registry.searching.words import is_cjk, marked

_SKILLS_TOLD = 3


def reasons(
    query: Query, card: Mapping[str, Any], *, latest: bool, words: tuple[Read, ...], similarity: float | None
) -> list[str]:
    """Why a card is a hit of a search whose text was read as `words`; `similarity` is that of its meaning, if it is near."""
    told = _of_text(card, words) if words else []
    if similarity is not None:
        told.append(f"similar to “{query.text.strip()}” ({similarity:.2f})")
    told += _of_filters(query, card)
    if not latest:
        told.append("an older version")
    return told


def _of_text(card: Mapping[str, Any], words: tuple[Read, ...]) -> list[str]:
    wanted = {word for one in words for word, _ in one.alternatives}
    had: set[str] = set()

    def found(*texts: str) -> str:
        forms, these = marked("\n".join(texts), wanted)
        had.update(these)
        return ", ".join(forms)

    told = []
    if hit := found(card["name"]):
        told.append(f"name matches “{hit}”")
    skills = card.get("skills", ())
    matched = [(skill["id"], found(skill["id"], skill["name"], *skill["tags"])) for skill in skills]
    told += [f"matched skill {name} “{hit}”" for name, hit in matched if hit][:_SKILLS_TOLD]
    if not told or not all(_had(one, had) for one in words):
        about = [card.get("description", ""), card.get("provider", {}).get("organization", "")]
        about += [text for skill in skills for text in (skill["description"], *skill.get("examples", ()))]
        if hit := found(*about):
            told.append(f"description matches “{hit}”")
    for one in words:
        if not had.isdisjoint(one.words):
            continue
        meant = next((form for word, form in one.corrected if word in had), "")
        if meant:
            told.append(f"“{one.typed.form}” read as “{meant}”")
        elif not is_cjk(one.typed.form):
            told.append(f"without “{one.typed.form}”")
    return told if had else []


def _had(one: Read, had: set[str]) -> bool:
    return any(word in had for word, _ in one.alternatives)


def _of_filters(query: Query, card: Mapping[str, Any]) -> list[str]:
    values = {(facet, value.casefold()) for facet, value in document("", card).values}
    told = []
    for facet in PLAIN[1:]:  # that it is in the namespace searched goes without saying
        given = getattr(query, facet)
        shown = [value for value in given if (facet, value.casefold()) in values] or given
        told += [f"matched {facet} {value}" for value in shown]
    for label, modes in (("input", query.input_mode), ("output", query.output_mode)):
        if modes:
            told.append(f"matched {label} {' or '.join(modes)}")
    if query.binding or query.protocol_version:
        told.append(f"matched binding {' '.join((*query.binding, *query.protocol_version))}")
    return told
