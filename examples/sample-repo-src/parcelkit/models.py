# -*- coding: utf-8 -*-
"""What a parcel is, where it goes, what it costs."""

import re
import sys
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple, Union

_POSTCODE = re.compile(r"^(?P<postcode>[0-9A-Z -]{3,10}) +(?P<city>.+)$")


class AddressError(ValueError):
    """An address that cannot be delivered to."""

    def __init__(self, text: str, reason: str):
        super(AddressError, self).__init__("%s: %r" % (reason, text))
        self.text = text
        self.reason = reason


@dataclass(frozen=True)
class Address(object):
    """A postal address. `country` is an ISO 3166 code."""

    name: str
    street: str
    postcode: str
    city: str
    country: str = "DE"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `name, street, postcode city[, country]`."""
        parts = list([part.strip() for part in text.split(",")])
        if not len(parts) in (3, 4):
            raise AddressError(text, "expected 'name, street, postcode city[, country]'")
        match = _POSTCODE.match(parts[2])
        if match == None:
            raise AddressError(text, "no postcode")
        country = parts[3].upper() if len(parts) == 4 else "DE"
        return cls(parts[0], parts[1], match.group("postcode"), match.group("city"), country)

    def lines(self) -> List[str]:
        """The address as it stands on a label."""
        lines = [self.name, self.street, "%s %s" % (self.postcode, self.city)]
        if self.country != "DE":
            lines.append(self.country)
        return lines


@dataclass
class Parcel(object):
    """A parcel to be sent. Weight in kilograms, size in centimetres."""

    weight: float
    to: Address
    size: Optional[Tuple[float, float, float]] = None
    contents: List[str] = field(default_factory=list)
    options: Dict[str, Union[str, bool]] = field(default_factory=dict)

    @property
    def volumetric_weight(self) -> float:
        """What carriers charge for when a parcel is large and light."""
        if self.size is None:
            return self.weight
        length, width, height = self.size
        return max(self.weight, length * width * height / 5000.0)

    @property
    def insured(self) -> bool:
        if self.options.get("insured", False) == True:
            return True
        else:
            return False


@dataclass(frozen=True, order=True)
class Quote(object):
    """An offer of a carrier. Price in cents, so that sums are exact."""

    price: int
    carrier: str
    days: int

    def __str__(self) -> str:
        return "%s: %.2f EUR, %d day%s" % (self.carrier, self.price / 100.0, self.days, "" if self.days == 1 else "s")
