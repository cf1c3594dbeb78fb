"""Express: next day at home, two days in the neighbourhood, at its price."""

from typing import Optional

from parcelkit.carriers import Carrier, register
from parcelkit.models import Parcel, Quote
from parcelkit.tariffs import price_for, zone_of


@register
class Express(Carrier):
    name = "express"
    max_weight = 20.0

    def accepts(self, parcel: Parcel) -> bool:
        if not super(Express, self).accepts(parcel):
            return False
        return zone_of(parcel.to.country) != "world"

    def quote(self, parcel: Parcel) -> Quote:
        zone = zone_of(parcel.to.country)
        days = 1 if zone == "home" else 2
        return Quote(price_for("express", zone, parcel.volumetric_weight), self.name, days)
