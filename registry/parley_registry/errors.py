"""What the registry refuses, as its service raises it and as its client raises it again."""

from dataclasses import dataclass

from parley_core.errors import ParleyError, Unavailable


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (`skills[0].id`, `limit`) and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class RegistryError(ParleyError):
    """Base of the registry's refusals. `faults` names each thing wrong with the input, if that is why."""

    kind = "registry-error"
    status = 400

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults

    def __str__(self) -> str:
        text = super().__str__()
        return text + "".join(f"\n  {fault}" for fault in self.faults)

    @property
    def summary(self) -> str:
        """The message without its faults, on one line."""
        return super().__str__()


class BadRequest(RegistryError):
    """The request itself is malformed: a parameter, a cursor, a body."""

    kind = "bad-request"
    status = 400


class CardRejected(RegistryError):
    """The AgentCard breaks the protocol's rules; `faults` names every one (specification, section 4.4)."""

    kind = "card-rejected"
    status = 422


class CardUnreachable(RegistryError):
    """The card of an external agent could not be fetched from the URL given."""

    kind = "card-unreachable"
    status = 422


class NotAllowed(RegistryError):
    """The caller did not prove who it is, or came under a host name this registry does not answer to."""

    kind = "not-allowed"
    status = 401


class AddressRefused(NotAllowed):
    """Nacos does not accept the user and password of its address, or what that user wants to do."""


class UnknownAgent(RegistryError):
    """The registry has no such agent, or not in that version."""

    kind = "unknown-agent"
    status = 404


class UnknownInstance(RegistryError):
    """The registry does not know that instance (any more): publish again with it."""

    kind = "unknown-instance"
    status = 404


class VersionConflict(RegistryError):
    """This version was already published with other content: a published version never changes."""

    kind = "version-conflict"
    status = 409


class LatestInUse(RegistryError):
    """The latest version cannot be deleted while other versions of the agent exist."""

    kind = "latest-in-use"
    status = 409


class PromptRejected(RegistryError):
    """A prompt, a label or a binding breaks the rules; `faults` names every one."""

    kind = "prompt-rejected"
    status = 422


class UnknownPrompt(RegistryError):
    """The registry has no such prompt, or not in that version, or under that label."""

    kind = "unknown-prompt"
    status = 404


class PromptInUse(RegistryError):
    """A version that a label or an agent version is bound to cannot be deleted."""

    kind = "prompt-in-use"
    status = 409


class McpRejected(RegistryError):
    """What was said of an MCP server breaks the rules; `faults` names every one."""

    kind = "mcp-rejected"
    status = 422


class UnknownMcpServer(RegistryError):
    """The registry has no such MCP server, or not in that version."""

    kind = "unknown-mcp-server"
    status = 404


class NotRendered(ParleyError):
    """A prompt cannot be made into text with the values given; the message names all that is wrong with them."""


class VersionInUse(RegistryError):
    """This version cannot be deleted while instances of it run or the rollout table gives it new contexts."""

    kind = "version-in-use"
    status = 409


class SignatureRequired(RegistryError):
    """The registry takes only cards signed by a key that it trusts, and this one is not."""

    kind = "signature-required"
    status = 403


class NotPermitted(RegistryError):
    """The caller's rights do not cover this name."""

    kind = "not-permitted"
    status = 403


class NotOwner(RegistryError):
    """The agent belongs to somebody else, who alone may change it."""

    kind = "not-owner"
    status = 403


class NameDiffers(RegistryError):
    """The card at a URL is of an agent with another name than the one that it was to be registered under."""

    kind = "name-differs"
    status = 409


class RolloutRejected(RegistryError):
    """The rollout table breaks its rules; `faults` names every one."""

    kind = "rollout-rejected"
    status = 422


class RolloutConflict(RegistryError):
    """The rollout table was changed by somebody else meanwhile: read it again, then decide again."""

    kind = "rollout-conflict"
    status = 409


class RegistryBusy(RegistryError, Unavailable):
    """A limit of the registry is reached for now (watchers, pending work); try again later."""

    kind = "busy"
    status = 503


class RegistryUnavailable(Unavailable):
    """The registry does not answer; the same call may succeed later."""


BY_KIND: dict[str, type[RegistryError]] = {
    error.kind: error
    for error in (
        BadRequest,
        CardRejected,
        CardUnreachable,
        NotAllowed,
        UnknownAgent,
        UnknownInstance,
        VersionConflict,
        LatestInUse,
        VersionInUse,
        RolloutRejected,
        RolloutConflict,
        SignatureRequired,
        NotPermitted,
        NotOwner,
        NameDiffers,
        PromptRejected,
        UnknownPrompt,
        PromptInUse,
        McpRejected,
        UnknownMcpServer,
        RegistryBusy,
    )
}
"""The class of each problem `type`, the same word on the wire as in code."""
