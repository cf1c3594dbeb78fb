"""Quotes, labels and tracking for parcels."""

from parcelkit.models import Address, Parcel, Quote
from parcelkit.quotes import cheapest, quotes

__all__ = ["Address", "Parcel", "Quote", "cheapest", "quotes"]
