"""A plain A2A server with a durable front before it: what it says arrives, and whoever is killed, tasks come to their end."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from place import Place, place, state, text

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

COUNTED = "".join(f"{n} " for n in range(1, 16))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path, f"sqlite:///{tmp_path}/tasks.db") as made:
        yield made


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("quiet",),
        ("v0.3",),
        pytest.param(("rest",), marks=pytest.mark.slow),
        pytest.param(("v0.3", "quiet"), marks=pytest.mark.slow),
        pytest.param(("v0.3", "rest"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_what_the_server_does_is_what_the_client_sees(tmp_path: Path, words: tuple[str, ...]) -> None:
    with place(tmp_path, f"sqlite:///{tmp_path}/tasks.db", *words) as here:
        card = here.http.get("/.well-known/agent-card.json").json()
        assert (card["name"], card["version"]) == ("plain", "2.3.4")
        assert all(one["url"].startswith(here.url) for one in card["supportedInterfaces"])
        assert card["capabilities"]["streaming"]

        assert here.send("greet")["parts"] == [{"text": "Hello"}]
        counted = here.send("count 5")
        assert (state(counted), text(counted)) == ("COMPLETED", "1 2 3 4 5 ")
        failed = here.send("fail")
        assert failed["status"]["message"]["parts"] == [{"text": "as you wished"}]
        assert (state(failed), failed["status"]["message"]["taskId"]) == ("FAILED", failed["id"])

        asked = here.send("ask", contextId="a-conversation")
        assert state(asked) == "INPUT_REQUIRED"
        answered = here.send("hundred", taskId=asked["id"])
        assert (state(answered), answered["id"]) == ("COMPLETED", asked["id"])
        assert text(answered).startswith("to hundred: ask")
        assert answered["contextId"] == "a-conversation"
        theirs = [line.split()[1:3] for line in here.marks if line.split()[0] in ("ask", "hundred")]
        assert theirs[0] == theirs[1] == [theirs[0][0], "a-conversation"], (
            "one task of that context there too"
        )
        assert theirs[0][0] != asked["id"]

        running = here.send("count 100", wait=False)
        here.begun(running["id"])
        canceled = here.http.post(f"/a2a/rest/tasks/{running['id']}:cancel").json()
        assert state(canceled) == "CANCELED"
        assert here.marks[-1].startswith("cancel ")


def test_a_refusal_is_the_servers_own(here: Place) -> None:
    assert "not with me" in str(here.send("refuse"))


def test_metrics_that_the_server_reports_are_the_tasks(here: Place) -> None:
    asked = here.send("ask")
    here.send("some", taskId=asked["id"])
    [told] = here.http.get("/parley/v1/versions").json()["versions"]
    assert told["metrics"]["words"]["values"] == [1.0]


def test_a_sidecar_that_is_killed_finds_the_task_again_where_it_goes_on(here: Place) -> None:
    task = here.send("count 15", wait=False)
    here.begun(task["id"])
    here.kill(here.sidecar)
    here.stand()
    done = here.ended(task["id"])
    assert (state(done), text(done)) == ("COMPLETED", COUNTED)
    assert len(here.marks) == 1, "it was run once"


def test_a_server_that_is_killed_gets_its_tasks_again_when_it_is_back(here: Place) -> None:
    task = here.send("count 15", wait=False)
    here.begun(task["id"])
    here.kill(here.server)
    assert "cannot be reached" in here.until_ready(503)
    waits = here.send("count 2", wait=False)
    here.serve()
    here.until_ready()
    done = here.ended(task["id"])
    assert (state(done), text(done)) == ("COMPLETED", COUNTED)
    assert (state(here.ended(waits["id"])), len(here.marks)) == ("COMPLETED", 3)


def test_both_are_killed_at_once(here: Place) -> None:
    task = here.send("count 15", wait=False)
    here.begun(task["id"])
    here.kill(here.sidecar)
    here.kill(here.server)
    here.stand(ready=False)
    here.serve()
    here.until_ready()
    done = here.ended(task["id"])
    assert (state(done), text(done)) == ("COMPLETED", COUNTED)


def test_a_message_that_kills_the_server_each_time_fails_in_the_end(tmp_path: Path) -> None:
    options = ("--max-attempts", "2")
    with place(tmp_path, f"sqlite:///{tmp_path}/tasks.db", options=options) as here:
        task = here.send("die", wait=False)
        for _ in range(2):
            assert here.server is not None
            here.server.wait(60)
            here.serve()
        done = here.ended(task["id"])
        assert state(done) == "FAILED"
        assert "Given up after 2 attempts" in done["status"]["message"]["parts"][0]["text"]
        assert len(here.marks) == 2


def test_what_must_not_run_twice_fails_when_the_server_has_lost_it(tmp_path: Path) -> None:
    options = ("--on-lost", "fail")
    with place(tmp_path, f"sqlite:///{tmp_path}/tasks.db", options=options) as here:
        task = here.send("count 15", wait=False)
        here.begun(task["id"])
        here.kill(here.sidecar)
        here.stand()
        assert text(here.ended(task["id"])) == COUNTED, "what goes on there is followed"
        task = here.send("count 15", wait=False)
        here.begun(task["id"])
        here.kill(here.server)
        here.serve()
        done = here.ended(task["id"])
        assert state(done) == "FAILED"
        assert "is not run twice" in done["status"]["message"]["parts"][0]["text"]
        assert len(here.marks) == 2


def test_an_answer_to_a_question_that_the_server_has_forgotten_fails_the_task(here: Place) -> None:
    asked = here.send("ask")
    here.kill(here.server)
    here.until_ready(503)
    here.serve()
    here.until_ready()
    done = here.send("hundred", taskId=asked["id"])
    assert state(done) == "FAILED"
    assert "cannot go on with it" in done["status"]["message"]["parts"][0]["text"]


def test_a_task_is_canceled_of_which_the_server_has_nothing(here: Place) -> None:
    asked = here.send("ask")
    here.kill(here.server)
    here.until_ready(503)
    here.serve()
    here.until_ready()
    assert state(here.http.post(f"/a2a/rest/tasks/{asked['id']}:cancel").json()) == "CANCELED"
