import pytest

from parcelkit.models import Address, AddressError, Parcel, Quote

ADA = Address("Ada Lovelace", "12 Mill Lane", "80331", "Munich")


def test_an_address_is_read_from_one_line():
    assert Address.parse("Ada Lovelace, 12 Mill Lane, 80331 Munich") == ADA


def test_the_country_can_be_given():
    assert Address.parse("A, B, 75001 Paris, fr").country == "FR"


@pytest.mark.parametrize("text", ["", "only a name", "A, B, no postcode here"])
def test_an_address_without_its_parts_is_refused(text):
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert repr(text) in str(caught.value)


def test_abroad_the_country_is_on_the_label():
    assert Address("A", "B", "75001", "Paris", "FR").lines()[-1] == "FR"
    assert ADA.lines()[-1] == "80331 Munich"


def test_a_large_light_parcel_is_charged_by_its_size():
    assert Parcel(1.0, ADA, size=(60, 50, 40)).volumetric_weight == 24.0
    assert Parcel(1.0, ADA).volumetric_weight == 1.0


def test_a_quote_reads_well():
    assert str(Quote(549, "standard", 1)) == "standard: 5.49 EUR, 1 day"
    assert str(Quote(1290, "express", 2)) == "express: 12.90 EUR, 2 days"


def test_insurance_is_an_option():
    assert Parcel(1.0, ADA, options={"insured": True}).insured
    assert not Parcel(1.0, ADA).insured
