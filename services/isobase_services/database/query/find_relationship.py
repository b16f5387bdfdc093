"""Which relationship an embed means, or PostgREST's refusal with the choices there are.

Source: PostgREST v14 ``Plan.hs`` findRel, ``Error.hs`` (PGRST200, PGRST201).
"""

from __future__ import annotations

from collections.abc import Sequence

from isobase_services.database.query.ast import RelationItem
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.fuzzy import PARAMETERS_SCORE, nearest, nearest_scored
from isobase_services.database.query.schema_cache import Cardinality, Relationship, SchemaCache

__all__ = ["find_relationship"]


def find_relationship(cache: SchemaCache, source: tuple[str, str], item: RelationItem) -> Relationship:
    """The one relationship from ``source`` that the embed's name and hint speak of.

    Raises ``RequestError``: PGRST200 (400) for none, with a hint of the nearest name; PGRST201 (300) for several, with all of
    them as details.
    """
    schema = source[0]
    known = [one for one in cache.relationships.get(source, ()) if one.function is not None or one.target[0] == schema]
    candidates = [one for one in known if _matches(one, item)]
    if not candidates:
        with_hint = f" using the hint '{item.hint}'" if item.hint else ""
        raise RequestError(
            f"Could not find a relationship between '{source[1]}' and '{item.name}' in the schema cache",
            code="PGRST200",
            details=f"Searched for a foreign key relationship between '{source[1]}' and '{item.name}'{with_hint} in the "
            f"schema '{schema}', but no matches were found.",
            hint=_relationship_hint(cache, source, item.name, known),
        )
    if len(candidates) > 1:
        raise _ambiguous(source, item, candidates)
    return candidates[0]


def _relationship_hint(
    cache: SchemaCache, source: tuple[str, str], name: str, known: Sequence[Relationship]
) -> str | None:
    """The nearest related name, or the nearest source where the source has no relationships; within the schema only."""
    if source in cache.relationships:
        scored = nearest_scored(name, (one.target[1] for one in known), PARAMETERS_SCORE)
        near = next((other for score, other in scored if score < 1), None)
        return f"Perhaps you meant '{near}' instead of '{name}'." if near else None
    parents = (key[1] for key, related in cache.relationships.items() if key[0] == source[0] and related)
    near = nearest(source[1], parents, PARAMETERS_SCORE)
    return f"Perhaps you meant '{near}' instead of '{source[1]}'." if near else None


def _matches(one: Relationship, item: RelationItem) -> bool:
    """Whether a relationship is what ``name`` and ``hint`` speak of: the target's name, a constraint, or a key's column."""
    if one.function is not None:
        return one.function[1] == item.name
    names_target = one.target[1] == item.name
    ours, theirs = one.pairs[0] if len(one.pairs) == 1 and one.junction is None else (None, None)
    if one.is_self:
        # One foreign key, two relationships: the table's name means its children, the column's name its parent.
        if item.hint is None:
            by_name = names_target and one.cardinality is Cardinality.ONE_TO_MANY
            return by_name or (ours == item.name and one.cardinality is Cardinality.MANY_TO_ONE)
        return names_target and one.cardinality is Cardinality.ONE_TO_MANY and theirs == item.hint
    by_constraint = one.junction is None and one.constraint == (item.hint or item.name)
    if item.hint is None:
        return names_target or (not one.target_is_view and (by_constraint or ours == item.name))
    by_junction = one.junction is not None and one.junction.name == item.hint
    return names_target and (by_constraint or by_junction or item.hint in {ours, theirs})


_RANK = {
    Cardinality.ONE_TO_MANY: 0,
    Cardinality.MANY_TO_ONE: 1,
    Cardinality.ONE_TO_ONE: 2,
    Cardinality.MANY_TO_MANY: 3,
}


def _ambiguous(source: tuple[str, str], item: RelationItem, candidates: Sequence[Relationship]) -> RequestError:
    described: list[dict[str, str]] = []
    hints: list[str] = []
    for one in sorted(candidates, key=lambda one: (_RANK[one.cardinality], one.constraint, one.pairs)):
        if one.function is not None:
            described.append({})
            hints.append("")
            continue
        if one.junction is not None:
            junction = one.junction
            way = (
                f"{junction.name} using {junction.source_constraint}({', '.join(junction.source_columns)}) and "
                f"{junction.target_constraint}({', '.join(junction.target_columns)})"
            )
            hint = junction.name
        else:
            mine = ", ".join(pair[0] for pair in one.pairs)
            theirs = ", ".join(pair[1] for pair in one.pairs)
            way = f"{one.constraint} using {source[1]}({mine}) and {one.target[1]}({theirs})"
            hint = one.constraint
        described.append(
            {
                "cardinality": one.cardinality.value,
                "relationship": way,
                "embedding": f"{source[1]} with {one.target[1]}",
            }
        )
        hints.append(f"'{one.target[1]}!{hint}'")
    error = RequestError(
        f"Could not embed because more than one relationship was found for '{source[1]}' and '{item.name}'",
        code="PGRST201",
        status=300,
        hint=f"Try changing '{item.name}' to one of the following: {', '.join(hints)}. "
        "Find the desired relationship in the 'details' key.",
    )
    error.payload = described
    return error
