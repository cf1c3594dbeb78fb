"""The agent's card in Kubernetes."""

from typing import Annotated

from pydantic import Field

from parley_operator.resources.base import Free, Model, rules
from parley_operator.resources.pod import KeyRef


class Card(Model):
    """The AgentCard (A2A 1.0, section 4.4). Its name is the Agent's, its version that of the AgentVersion, and its interfaces are where
    the agent answers here: these three are filled in."""

    model_config = rules(
        ("has(self.inline) != has(self.configMap)", "card: give exactly one of inline and configMap")
    )

    inline: Annotated[Free | None, Field(default=None)]
    """The card itself: description, skills, capabilities, defaultInputModes, defaultOutputModes …"""
    config_map: Annotated[KeyRef | None, Field(default=None)]
    """A key of a ConfigMap that holds the card as JSON."""
