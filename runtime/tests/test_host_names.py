"""What a host is called: by its card unless it is told, and in its database by its scope too."""

import pytest
from a2a.types import a2a_pb2 as pb

from parley_runtime.cards import Cards
from parley_runtime.settings import HostSettings
from parley_runtime.stores.postgres.connection import address_of

CARD = pb.AgentCard(name="Coder", version="1.0.0")
DATABASE = "postgresql://user:password@127.0.0.1:5432/parley"


def test_a_host_is_called_as_its_card_says_unless_it_is_told_otherwise() -> None:
    assert Cards(CARD, None, HostSettings()).public.name == "Coder"
    assert Cards(CARD, None, HostSettings(agent_name="team-coder")).public.name == "team-coder"


@pytest.mark.parametrize(("one", "other", "same"), [("", "", True), ("a", "b", False), ("a", "", False)])
def test_agents_of_one_name_share_a_database_by_their_scopes(one: str, other: str, same: bool) -> None:
    first, second = (
        address_of(DATABASE, HostSettings(scope=scope).known_as("coder")).schema for scope in (one, other)
    )
    assert (first == second) is same
