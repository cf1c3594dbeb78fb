"""The carriers that can be asked for a quote. A carrier's module registers it when it is imported."""

import abc
import collections
from typing import Callable, Dict, Iterator, List, Optional, Type

from parcelkit.models import Parcel, Quote

_registered = collections.OrderedDict()  # type: Dict[str, Type["Carrier"]]


class UnknownCarrier(KeyError):
    """No carrier of that name is registered."""


class Carrier(abc.ABC):
    """Someone who carries parcels."""

    name = ""
    max_weight = 31.5

    def accepts(self, parcel: Parcel) -> bool:
        return parcel.weight <= self.max_weight

    @abc.abstractmethod
    def quote(self, parcel: Parcel) -> Quote:
        """What it costs to send the parcel with this carrier."""


def register(carrier: Type[Carrier]) -> Type[Carrier]:
    """Class decorator that makes a carrier known by its name."""
    if carrier.name in _registered.keys():
        raise ValueError("carrier {0!r} is registered twice".format(carrier.name))
    _registered[carrier.name] = carrier
    return carrier


def find(name: str) -> Carrier:
    """The carrier of that name."""
    try:
        return _registered[name]()
    except KeyError:
        raise UnknownCarrier("no carrier {!r}; there are {}".format(name, ", ".join(sorted(_registered))))


def names() -> List[str]:
    """Names of all carriers, in order of registration."""
    return list(_registered.keys())


def every() -> Iterator[Carrier]:
    """One of each carrier."""
    for carrier in list(_registered.values()):
        yield carrier()
