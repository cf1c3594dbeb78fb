import subprocess
import sys

import pytest

from parcelkit import Address, Parcel, cheapest, quotes
from parcelkit.quotes import NoCarrier, fastest


def parcel(weight, country="DE", **more):
    return Parcel(weight, Address("A", "B", "12345", "C", country), **more)


def test_the_cheapest_offer_comes_first():
    offers = quotes(parcel(1.5))
    assert [offer.carrier for offer in offers] == ["standard", "express"]
    assert cheapest(parcel(1.5)).price == 549


def test_the_fastest_offer_is_express():
    assert fastest(parcel(1.5)).carrier == "express"


def test_express_does_not_go_everywhere():
    assert [offer.carrier for offer in quotes(parcel(1.5, "US"))] == ["standard"]


def test_insurance_costs_extra():
    plain, insured = quotes(parcel(1, options={})), quotes(parcel(1, options={"insured": True}))
    assert insured[0].price - plain[0].price == 250


def test_nobody_takes_a_piano():
    with pytest.raises(NoCarrier):
        cheapest(parcel(400))


def test_only_the_named_carriers_are_asked():
    assert [offer.carrier for offer in quotes(parcel(1), only=["express"])] == ["express"]


def test_the_command_prints_offers():
    done = subprocess.run(
        [sys.executable, "-m", "parcelkit.cli", "quote", "2.4", "at"], stdout=subprocess.PIPE, universal_newlines=True
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "standard: 16.99 EUR, 4 days"
