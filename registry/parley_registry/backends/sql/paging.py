"""Pages of tables that are listed by namespace and name and searched by a column of words."""

from collections.abc import Sequence

from sqlalchemy import TextClause, text


def paged(
    table: str,
    column: str,
    namespace: str,
    words: Sequence[str],
    after: tuple[str, str] | None,
    limit: int,
    more: str = "",
) -> tuple[TextClause, dict[str, object]]:
    """The statement, and its values, for up to `limit` rows following `after`, of one namespace (or all, for ""), with
    every one of `words` (in small letters) in the column `words`; `more` is another condition."""
    conditions = ["1 = 1", *([more] if more else [])]
    values: dict[str, object] = {"most": limit}
    if namespace:
        conditions.append("namespace = :namespace")
        values["namespace"] = namespace
    if after is not None:
        conditions.append("(namespace, name) > (:after_namespace, :after_name)")
        values |= {"after_namespace": after[0], "after_name": after[1]}
    for number, word in enumerate(words):
        conditions.append(f"words LIKE :word{number} ESCAPE '!'")
        escaped = word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        values[f"word{number}"] = f"%{escaped}%"
    where = " AND ".join(conditions)
    return text(f"SELECT {column} FROM {table} WHERE {where} ORDER BY namespace, name LIMIT :most"), values
