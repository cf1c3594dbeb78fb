"""Ask the carriers what a parcel costs."""

import logging
import os
from typing import List, Optional

from parcelkit.models import Parcel, Quote
from parcelkit import carriers
from parcelkit.carriers import express, standard

log = logging.getLogger(__name__)


class NoCarrier(LookupError):
    """Nobody takes the parcel."""


def quotes(parcel: Parcel, only: Optional[List[str]] = None) -> List[Quote]:
    """Offers of all carriers that take the parcel, cheapest first."""
    wanted = carriers.names() if only is None else only
    found = []
    for name in wanted:
        carrier = carriers.find(name)
        if not carrier.accepts(parcel):
            log.debug("%s does not take %.1f kg to %s" % (name, parcel.weight, parcel.to.country))
            continue
        found.append(carrier.quote(parcel))
    return sorted(list(found))


def cheapest(parcel: Parcel) -> Quote:
    """The cheapest offer."""
    offers = quotes(parcel)
    if len(offers) == 0:
        raise NoCarrier("nobody takes %.1f kg to %s" % (parcel.weight, parcel.to.country))
    return offers[0]


def fastest(parcel: Parcel) -> Quote:
    """The offer with the fewest days, the cheaper one of equals."""
    offers = quotes(parcel)
    if not offers:
        raise NoCarrier("nobody takes %.1f kg to %s" % (parcel.weight, parcel.to.country))
    return min(offers, key=lambda offer: (offer.days, offer.price))
