import pytest

from parcelkit.tariffs import NoTariff, price_for, services, zone_of


def test_countries_have_zones():
    assert (zone_of("DE"), zone_of("FR"), zone_of("JP")) == ("home", "eu", "world")


def test_a_weight_on_the_limit_is_in_the_bracket():
    assert price_for("standard", "home", 2) == 549
    assert price_for("standard", "home", 2.01) == 699


def test_what_has_no_price_is_said():
    with pytest.raises(NoTariff, match="does not go to zone world"):
        price_for("express", "world", 1)
    with pytest.raises(NoTariff, match="at most 20 kg"):
        price_for("express", "home", 21)


def test_services_are_listed():
    assert services() == ["express", "standard"]
