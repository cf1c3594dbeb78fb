"""What a search can be asked over HTTP."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from parley_registry.searching.query import MAX_LIMIT, MAX_TEXT, MAX_VALUES, Query

Word = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Words = Annotated[list[Word], Field(max_length=MAX_VALUES)]


class SearchParameters(BaseModel):
    """All that is given must hold; of a parameter that is given several times, one value must. An empty one is not given."""

    model_config = ConfigDict(extra="forbid")

    text: Word = Field("", description="Words; the last may be the beginning of one. Slips are forgiven.")
    semantic: bool = Field(
        True, description="Whether to look for the text's meaning too, if the registry can."
    )
    latest: bool = Field(False, description="Only the latest version of each agent.")
    namespace: Words = []
    skill: Words = Field([], description="Id of a skill.")
    tag: Words = Field([], description="Tag of a skill.")
    capability: Words = Field([], description="streaming, pushNotifications or extendedAgentCard.")
    extension: Words = Field([], description="URI of an extension.")
    inputMode: Words = Field([], description="Media type that is taken.")
    outputMode: Words = Field([], description="Media type that is made.")
    provider: Words = Field([], description="Organisation that offers the agent.")
    binding: Words = Field([], description="Protocol binding, of one interface with the protocolVersion.")
    protocolVersion: Words = []
    security: Words = Field(
        [], description="Kind of security scheme: apiKey, http, oauth2, openIdConnect, mutualTLS, or none."
    )
    owner: Words = []
    signature: Words = Field(
        [], description="What the card's signatures are worth here: verified, untrusted, invalid or none."
    )
    external: Literal["", "true", "false"] = Field("", description="Whether it was registered by its URL.")
    version: Words = []
    health: list[Literal["", "up", "down", "unknown"]] = Field([], max_length=MAX_VALUES)
    limit: int = Field(20, ge=1, le=MAX_LIMIT)
    cursor: str = Field("", max_length=2048)

    def query(self) -> Query:
        """The search without its page."""
        return Query(
            text=self.text,
            semantic=self.semantic,
            latest=self.latest,
            namespace=_given(self.namespace),
            skill=_given(self.skill),
            tag=_given(self.tag),
            capability=_given(self.capability),
            extension=_given(self.extension),
            input_mode=_given(self.inputMode),
            output_mode=_given(self.outputMode),
            provider=_given(self.provider),
            binding=_given(self.binding),
            protocol_version=_given(self.protocolVersion),
            security=_given(self.security),
            owner=_given(self.owner),
            signature=_given(self.signature),
            external=_given([self.external]),
            version=_given(self.version),
            health=_given(self.health),
        )


def _given(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
