"""A pytest plugin for inside of the sandbox: run only the tests whose JUnit ids the file PARLEY_ONLY lists."""

import os


def _junit_id(nodeid):  # type: ignore[no-untyped-def]
    path, _, rest = nodeid.partition("::")
    # The parameters of a test may hold any character, so only what is before them is split.
    head, bracket, parameters = rest.partition("[")
    names = [path.removesuffix(".py").replace("/", "."), *head.split("::")]
    return ".".join(names[:-1]) + "::" + names[-1] + bracket + parameters


def pytest_collection_modifyitems(config, items):  # type: ignore[no-untyped-def]
    only = os.environ.get("PARLEY_ONLY")
    if not only:
        return
    with open(only, encoding="utf-8") as file:
        wanted = set(file.read().split("\0"))
    kept = [item for item in items if _junit_id(item.nodeid) in wanted]
    dropped = [item for item in items if _junit_id(item.nodeid) not in wanted]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = kept
