import pytest

from parcelkit.tracking import BadEvent, by_place, is_settled, latest, parse, parse_all

LOG = """
2024-03-01T08:00:00Z [Munich] registered
2024-03-01T18:30:00Z [Munich] collected
this line is noise
2024-03-02T03:10:00Z [Leipzig] in transit
2024-03-02T09:45:00Z [Berlin] Delivered
"""


def test_an_event_is_read():
    event = parse("2024-03-01T08:00:00Z [Munich] registered")
    assert (event.at.isoformat(), event.place, event.state) == (
        "2024-03-01T08:00:00+00:00",
        "Munich",
        "registered",
    )


def test_a_line_that_is_no_event_is_refused():
    with pytest.raises(BadEvent):
        parse("hello")
    with pytest.raises(BadEvent):
        parse("2024-03-01T08:00:00Z [Munich] lost at sea")


def test_noise_is_left_out():
    assert len(list(parse_all(LOG.splitlines()))) == 4


def test_the_latest_event_decides():
    events = list(parse_all(LOG.splitlines()))
    assert latest(events).place == "Berlin"
    assert is_settled(events)
    assert not is_settled(events[:3])
    assert latest([]) is None


def test_events_are_grouped_by_place():
    assert [len(found) for found in by_place(parse_all(LOG.splitlines())).values()] == [2, 1, 1]
