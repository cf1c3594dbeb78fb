"""Where the catalogue of a Nacos answers: it registers itself there, as the agents do."""

from urllib.parse import urlsplit

from parley_registry.nacos.naming import Endpoint, Naming, Service

_GROUP = "parley"
_NAME = "parley-catalogue"
_URL = "url"


def catalogue_service(namespace: str) -> Service:
    """What catalogues of a namespace are registered under."""
    return Service(namespace, _GROUP, _NAME)


async def announce_catalogue(naming: Naming, namespace: str, url: str) -> None:
    """Have this process found as a catalogue of `namespace` at `url`, until `naming` is closed."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    await naming.register(catalogue_service(namespace), Endpoint(parts.hostname or "", port, {_URL: url}))


def catalogue_urls(endpoints: tuple[Endpoint, ...]) -> list[str]:
    """The URLs of live catalogues, in order."""
    urls = (one.metadata.get(_URL, "") for one in endpoints if one.healthy)
    return sorted({url for url in urls if url.startswith(("http://", "https://"))})
