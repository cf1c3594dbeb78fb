"""Calls to the Kubernetes API, objects as plain JSON. Why no library does this is in docs/decisions."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from parley_operator.kube.errors import NotFound
from parley_operator.kube.kinds import Kind, kind_of
from parley_operator.kube.wire import Wire

MANAGER = "parley-operator"
"""The field manager of what the operator writes."""
PAGE = 500
"""Objects in one page of a list."""
_APPLY = "application/apply-patch+yaml"
_NAMES = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE = "application/merge-patch+json"
_BY_US = {"fieldManager": MANAGER, "fieldValidation": "Ignore"}
"""What is written is not checked a second time for fields that there are not: the server would tell of them in a header that
nobody reads, and it costs it an eighth of all that a write does. (Applying refuses them anyway, in kinds of its own.)"""


class Kube:
    """The calls. All raise ApiUnavailable when there is no answer in time, else what the server says as an ApiError.

    With `left`, which tells for how many more seconds writing is safe, nothing is written when that is 0 (raises
    NotLeading), and no write is waited for longer.
    """

    def __init__(self, wire: Wire, *, left: Callable[[], float] | None = None) -> None:
        self._wire = wire
        self._left = left

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """The object. Raises NotFound."""
        return await self._wire.call("GET", kind.path(namespace, name))

    async def page(
        self, kind: Kind, namespace: str | None, *, labels: str = "", after: str = ""
    ) -> tuple[list[dict[str, Any]], str, str]:
        """At most PAGE of the objects (of all namespaces with None), where the next page starts ("": there is none)
        and the version of the whole. Raises Gone when the page has expired: begin again."""
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        found = await self._wire.call(
            "GET", kind.path(namespace), query | ({"continue": after} if after else {})
        )
        meta = found["metadata"]
        return found["items"] or [], meta.get("continue") or "", meta.get("resourceVersion", "")

    async def names(self, kind: Kind, namespace: str, *, labels: str = "") -> frozenset[str]:
        """The names of the objects in a namespace. Nothing else of them is fetched."""
        found: set[str] = set()
        after = ""
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels} | ({"continue": after} if after else {})
            page = await self._wire.call("GET", kind.path(namespace), query, accept=_NAMES)
            found.update(one["metadata"]["name"] for one in page["items"] or ())
            after = page["metadata"].get("continue") or ""
            if not after:
                return frozenset(found)

    async def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Make the object. Raises AlreadyExists, Invalid."""
        meta = obj["metadata"]
        return await self._write("POST", kind_of(obj).path(meta["namespace"]), _BY_US, body=obj)

    async def replace(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Put the object in the place of the one with the same resourceVersion. Raises Stale."""
        meta = obj["metadata"]
        path = kind_of(obj).path(meta["namespace"], meta["name"])
        return await self._write("PUT", path, _BY_US, body=obj)

    async def apply(
        self, obj: Mapping[str, Any], *, subresource: str = "", manager: str = MANAGER, force: bool = False
    ) -> dict[str, Any]:
        """Server-side apply: have the object hold these fields, leave those of others alone; what we applied before
        and do not name now goes. The object as it is then. Raises FieldConflict, Invalid, NotFound (its namespace)."""
        meta = obj["metadata"]
        path = kind_of(obj).path(meta["namespace"], meta["name"], subresource)
        query = {**_BY_US, "fieldManager": manager, "force": "true" if force else "false"}
        return await self._write("PATCH", path, query, body=obj, content=_APPLY)

    async def patch(
        self, kind: Kind, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Merge a change (RFC 7386) into the object; with a resourceVersion in it only when that is still its own.
        The object (or subresource) as it is then. Raises NotFound, Stale."""
        path = kind.path(namespace, name, subresource)
        return await self._write("PATCH", path, _BY_US, body=change, content=_MERGE)

    async def set_status(
        self, kind: Kind, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Replace the status of the object, if it still has that resourceVersion. The object as it is then. Raises
        NotFound, Stale."""
        obj = {
            "apiVersion": kind.api,
            "kind": kind.name,
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": version},
            "status": status,
        }
        path = kind.path(namespace, name, "status")
        return await self._write("PUT", path, _BY_US, body=obj)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        """Delete the object (only the one with that uid, if given) and, in the background, what it owns. Nothing
        happens when it is gone. Raises Stale when its uid is another."""
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._write("DELETE", kind.path(namespace, name), body=body)
        except NotFound:
            return

    def watch(
        self, kind: Kind, namespace: str | None, version: str, *, labels: str = ""
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """What changes after that version: (ADDED, MODIFIED, DELETED or BOOKMARK, object), until the server ends it,
        as it does every few minutes. Raises Gone, ApiUnavailable when the connection breaks, ApiError."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(240, 480)),
        } | ({"labelSelector": labels} if labels else {})
        return self._wire.watch(kind.path(namespace), query)

    async def _write(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any],
        content: str = "application/json",
    ) -> dict[str, Any]:
        return await self._wire.call(method, path, query, body=body, content=content, fence=self._left)
