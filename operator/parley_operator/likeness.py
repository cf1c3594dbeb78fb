"""Whether an object in the API server already is as we want it, so that an unchanged world is not written to. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

HASH = "parley.dev/applied"
"""Annotation that says by which wanted object the fields of ours were set: what that no longer names is then to go."""

Path = tuple[str | int, ...]


def hash_of(wanted: Mapping[str, Any]) -> str:
    """A short hash of a wanted object."""
    return blake2b(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def marked(wanted: Mapping[str, Any], hashed: str) -> dict[str, Any]:
    """The wanted object with its hash as annotation."""
    meta = wanted["metadata"]
    annotations = {**(meta.get("annotations") or {}), HASH: hashed}
    return {**wanted, "metadata": {**meta, "annotations": annotations}}


def mark_of(live: Mapping[str, Any]) -> str:
    """The hash that an object bears; "" for none."""
    return str((live["metadata"].get("annotations") or {}).get(HASH, ""))


def differences(wanted: Any, live: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Where `live` is not as `wanted`, with the value it has there. What is not wanted may be anything: defaults of the
    server, fields of others. Members of lists are matched by their name or uid if they have one. Both are plain JSON."""
    if wanted == live:
        return  # most parts are, and this finds it out without a look at each
    if isinstance(wanted, dict) and isinstance(live, dict):
        for field, value in wanted.items():
            yield from differences(value, live.get(field), (*path, field))
    elif isinstance(wanted, list | tuple) and isinstance(live, list | tuple):
        by = next((field for field in ("name", "uid", "mountPath") if _all_have(wanted, field)), "")
        if by:
            known = {one[by]: one for one in live if isinstance(one, dict) and by in one}
            for one in wanted:
                yield from differences(one, known.get(one[by]), (*path, str(one[by])))
        elif path[-1:] == ("finalizers",):
            if set(wanted) - set(live):
                yield path, list(live)
        elif len(wanted) != len(live):
            yield path, live
        else:
            for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
                yield from differences(one, other, (*path, index))
    elif not (_is_nothing(wanted) and _is_nothing(live)):
        yield path, live


def _all_have(members: Sequence[Any], field: str) -> bool:
    return bool(members) and all(isinstance(one, dict) and field in one for one in members)


def _is_nothing(value: Any) -> bool:
    """The API server leaves out what is empty."""
    return value is None or value == {} or value == [] or value == ()
