"""What Parley does not use of libraries is not loaded, and is there for who does."""

import subprocess
import sys


def run(program: str) -> str:
    """What a Python program prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LEAN = "from parley_core.lean import load_sdk; load_sdk()\n"


SERVER = "import a2a.server.request_handlers, a2a.server.agent_execution, a2a.server.routes.jsonrpc_dispatcher, httpx\n"


def test_the_sdk_comes_without_sqlalchemy_fastapi_and_rich() -> None:
    program = SERVER + "import sys; print({'fastapi', 'rich', 'sqlalchemy'} & set(sys.modules))"
    assert run(LEAN + program) == "set()"


def test_who_asks_for_what_was_left_gets_it() -> None:
    program = (
        SERVER
        + """
from a2a.server.cluster import DatabaseTaskEventStream, VersionedDatabaseTaskStore
from a2a.server.routes import add_a2a_routes_to_fastapi
from a2a.server.tasks import DatabasePushNotificationConfigStore, DatabaseTaskStore
from a2a.server.tasks.database_task_store import DatabaseTaskStore as directly
import a2a.server.tasks
import httpx
assert callable(httpx.main)
assert DatabaseTaskStore is directly
assert not hasattr(a2a.server.tasks, "NotThere")
print(DatabaseTaskStore.__name__, callable(add_a2a_routes_to_fastapi), DatabaseTaskEventStream.__module__)
"""
    )
    assert run(LEAN + program) == "DatabaseTaskStore True a2a.server.cluster.database_event_stream"


def test_it_comes_too_late_for_what_is_loaded() -> None:
    program = "import a2a.server.tasks as tasks\nstore = tasks.DatabaseTaskStore\n"
    assert run(program + LEAN + "print(tasks.DatabaseTaskStore is store)") == "True"
