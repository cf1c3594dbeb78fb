"""Post: slow, cheap, everywhere."""

import json
import os
from typing import Dict

from parcelkit.carriers import Carrier, register
from parcelkit.models import Parcel, Quote
from parcelkit.tariffs import price_for, zone_of


@register
class Standard(Carrier):
    name = "standard"

    def quote(self, parcel: Parcel) -> Quote:
        zone = zone_of(parcel.to.country)
        price = price_for("standard", zone, parcel.volumetric_weight)
        if parcel.insured == True:
            price = price + 250
        days = dict(home=2, eu=4, world=9)[zone]
        return Quote(price, self.name, days)
