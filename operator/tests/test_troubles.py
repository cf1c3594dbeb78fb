"""What is said of pods that do not start."""

from parley_operator.troubles import troubles_of_pod


def crashing(last: str) -> dict[str, object]:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    return {
        "containerStatuses": [
            {"name": "agent", "state": {"waiting": waiting}, "lastState": {"terminated": {"message": last}}}
        ]
    }


def test_why_a_container_ended_is_told_by_the_end_of_what_it_said() -> None:
    (told,) = troubles_of_pod(crashing("starting …\n" * 100 + "parley: canary has no 'Missing'\n"))
    assert told.said.startswith("container agent: CrashLoopBackOff (")
    assert told.said.endswith("parley: canary has no 'Missing')")


def test_a_container_that_said_nothing_has_what_kubernetes_says() -> None:
    assert [one.said for one in troubles_of_pod(crashing(""))] == [
        "container agent: CrashLoopBackOff (back-off 40s restarting failed container)"
    ]


def test_a_container_that_runs_but_was_ended_before_it_came_up_is_told_of() -> None:
    running = {"name": "server", "state": {"running": {"startedAt": "now"}}, "started": False}
    assert [
        one.said for one in troubles_of_pod({"initContainerStatuses": [{**running, "restartCount": 2}]})
    ] == ["container server: started 3 times and not come up"]
    assert not list(troubles_of_pod({"initContainerStatuses": [{**running, "restartCount": 0}]}))
    assert not list(
        troubles_of_pod({"initContainerStatuses": [{**running, "restartCount": 2, "started": True}]})
    )
