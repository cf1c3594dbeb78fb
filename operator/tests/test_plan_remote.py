"""Agents that run elsewhere: what they may be called, and whose place they may take."""

from dataclasses import replace
from typing import Any

import pytest
from simulated import NAME, NAMESPACE, START, World

from parley_operator.decision import Plan
from parley_operator.degraded import with_problem
from parley_operator.manifests.meta import FINALIZER
from parley_operator.observed import Remote
from parley_operator.plan import plan
from parley_operator.registering import Registering
from parley_operator.tables import Name, Tables
from parley_registry.client import NameDiffers, NotOwner, RegistryError

CARD = "https://other.example/.well-known/agent-card.json"


def elsewhere(url: str = "https://other.example") -> dict[str, Any]:
    return {"runtime": "remote", "remote": {"url": url}}


def seen(of: World, found: Remote | None) -> Plan:
    """Plan and do it, the registry having this under the name."""
    made = plan(replace(of.observe(), remote=found, published=frozenset({"1"}) if found else frozenset()))
    of.carry_out(made)
    return made


class FakeRefusingTables(Tables):
    """A registry that refuses every card."""

    def __init__(self, error: RegistryError) -> None:
        super().__init__("http://127.0.0.1:1", None, lambda _: None)
        self._error = error

    async def register(self, of: Name, url: str) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NameDiffers("the card is of an agent called reviewer, not coder"), "NameDiffers"),
        (NotOwner("coder belongs to another owner"), "NameTaken"),
    ],
    ids=["another name", "another owner"],
)
async def test_a_card_that_may_not_be_registered_makes_the_agent_not_accepted(
    error: RegistryError, reason: str
) -> None:
    made = World.of(elsewhere())
    asked = plan(made.observe())
    assert asked.register == "https://other.example"
    problem = await Registering(FakeRefusingTables(error)).before(Name(NAMESPACE, NAME), asked)
    assert problem is not None
    assert asked.status is not None
    told = with_problem(asked.status, {}, problem, now=START)
    conditions = {one["type"]: (one["status"], one["reason"]) for one in told["conditions"]}
    assert conditions["Accepted"] == ("False", reason)
    assert conditions["Ready"] == ("False", reason)
    assert conditions["Degraded"] == ("True", reason)
    assert str(error) in next(one["message"] for one in told["conditions"] if one["type"] == "Accepted")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Remote("1.0.0", "up", "http://10.0.0.1"), "is published by its own hosts"),
        (Remote("1.0.0", "up", "", "https://third.example/card.json"), "https://third.example/card.json"),
    ],
    ids=["hosts", "another url"],
)
def test_a_name_that_another_has_is_not_taken_over_nor_withdrawn(found: Remote, said: str) -> None:
    made = World.of(elsewhere())
    told = seen(made, found)
    assert not told.register
    assert made.condition("Accepted") == ("False", "NameTaken")
    assert said in next(one.message for one in made.status.conditions if one.type == "Accepted")
    assert [reason for reason, _ in made.events] == ["NameTaken"]
    made.agent["metadata"]["finalizers"] = [FINALIZER]
    made.delete()
    gone = plan(replace(made.observe(), now=2e9, remote=found, published=frozenset({"1.0.0"})))
    assert gone.finalize
    assert not gone.withdraw, "it is not the Agent's to take away"
    # When the other is gone, the name is free.
    free = World.of(elsewhere())
    seen(free, found)
    assert seen(free, None).register == "https://other.example"
    assert free.condition("Accepted")[0] == "True"


def test_what_the_agent_has_registered_is_withdrawn_with_it() -> None:
    made = World.of(elsewhere())
    seen(made, None)
    mine = Remote("1.0.0", "up", "", CARD)
    seen(made, mine)
    assert made.condition("Ready") == ("True", "Published")
    made.delete()
    assert plan(replace(made.observe(), now=2e9, remote=mine, published=frozenset({"1.0.0"}))).withdraw


def test_another_url_takes_the_place_of_the_one_before() -> None:
    made = World.of(elsewhere())
    mine = Remote("1.0.0", "up", "", CARD)
    seen(made, None)
    seen(made, mine)
    made.change(elsewhere("https://new.example/card.json"))
    told = seen(made, mine)
    assert told.withdraw
    assert made.condition("Progressing") == ("True", "Registering")
    assert seen(made, None).register == "https://new.example/card.json"
    seen(made, Remote("1.0.0", "up", "", "https://new.example/card.json"))
    assert made.condition("Ready") == ("True", "Published")


def test_that_a_card_is_being_registered_is_said_in_words() -> None:
    made = World.of(elsewhere())
    seen(made, None)
    assert made.condition("Progressing") == ("True", "Registering")
    said = next(one.message for one in made.status.conditions if one.type == "Progressing")
    assert said == "the card at https://other.example is being registered"


def test_of_two_agents_with_one_name_in_the_registry_one_that_runs_elsewhere_is_not_exempt() -> None:
    made = World.of(elsewhere())
    told = plan(replace(made.observe(), elder="other/coder"))
    assert not told.register
    made.carry_out(told)
    assert made.condition("Accepted") == ("False", "NameTaken")
