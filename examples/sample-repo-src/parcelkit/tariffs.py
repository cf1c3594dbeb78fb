"""The price list."""

import functools
import io
import json
import os
import sys
from typing import Any, Dict, List

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tariffs.json")


class NoTariff(LookupError):
    """The price list has no price for this."""


@functools.lru_cache(maxsize=None)
def load(path: str = PATH) -> Dict[str, Any]:
    """Read a price list."""
    with io.open(path, "r", encoding="utf-8") as file:
        return json.load(file)


def zone_of(country: str) -> str:
    """The zone a country is in; "world" when it is in none."""
    for zone, countries in load()["zones"].items():
        if country in set([c.upper() for c in countries]):
            return zone
    return "world"


def price_for(service: str, zone: str, weight: float) -> int:
    """Price in cents of the first bracket that the weight fits in."""
    brackets = load()[service].get(zone, None)
    if brackets is None:
        raise NoTariff("%s does not go to zone %s" % (service, zone))
    for limit, price in brackets:
        if weight <= limit:
            return price
    raise NoTariff("{} takes at most {} kg to zone {}".format(service, brackets[-1][0], zone))


def services() -> List[str]:
    """Names of the services that have prices."""
    return sorted([key for key in load().keys() if not key == "zones"])
