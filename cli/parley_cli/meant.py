"""The registry that a command is about."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from parley_cli.options import Namespace, Registry, TokenFile, complete, registry_of

if TYPE_CHECKING:
    from parley_cli.access import Access
    from parley_cli.home import Home
    from parley_registry import client

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Meant:
    """The options that say which registry is meant and who asks it (see `gathered`), and how it is asked.

    Asking runs to its end. It raises NotRunning when no registry was given and no platform runs, Misuse for what is no address.
    """

    context: typer.Context
    registry: Registry = ""
    namespace: Namespace = ""
    token_file: TokenFile = None

    def ask(self, work: "Callable[[client.Registry], Awaitable[T]]") -> T:
        """What `work` makes of the registry; of Nacos itself where that is the registry and has no catalogue."""
        return _asked(self.access.registry(self.address), work)

    def ask_catalogue(self, work: "Callable[[client.RegistryClient], Awaitable[T]]") -> T:
        """The same of what only a registry service knows."""
        return _asked(self.access.catalogue(self.address), work)

    @property
    def access(self) -> "Access":
        """What proves who asks. Raises ConfigurationError for a file that holds no token."""
        from parley_core.lean import load

        load("httpx")
        from parley_cli.access import Access

        return Access.given(self.token_file)

    @property
    def home(self) -> "Home":
        """The folder that holds the platform."""
        home: Home = self.context.obj
        return home

    @property
    def address(self) -> str:
        """The registry's address, of the namespace that is meant if one is given."""
        return registry_of(self.home, self.registry, self.namespace)


def _asked(there: AbstractAsyncContextManager[R], work: Callable[[R], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with there as found:
            return await work(found)

    return complete(asked())
