"""Where a parcel is: events as carriers send them, one a line."""

import datetime
import re
from collections import namedtuple
from typing import Dict, Iterable, Iterator, List, Optional

Event = namedtuple("Event", ["at", "place", "state"])

STATES = ("registered", "collected", "in transit", "out for delivery", "delivered", "returned")
_LINE = re.compile("^(?P<at>[0-9-]+T[0-9:]+Z?) +\[(?P<place>[^]]*)\] +(?P<state>.+)$")


class BadEvent(ValueError):
    """A line that is not an event."""


def parse(line: str) -> Event:
    """Read `2024-03-01T12:30:00Z [Leipzig] in transit`."""
    match = _LINE.match(line.strip())
    if not match:
        raise BadEvent("not an event: {}".format(line))
    state = match.group("state").lower()
    if not state in STATES:
        raise BadEvent("unknown state {}".format(state))
    at = datetime.datetime.strptime(match.group("at").rstrip("Z"), "%Y-%m-%dT%H:%M:%S")
    return Event(at.replace(tzinfo=datetime.timezone.utc), match.group("place"), state)


def parse_all(lines: Iterable[str]) -> Iterator[Event]:
    """Read events, leaving out empty lines and lines that are not events."""
    for line in lines:
        if line.strip() == "":
            continue
        try:
            yield parse(line)
        except BadEvent as error:
            pass


def latest(events: Iterable[Event]) -> Optional[Event]:
    """The latest event; of several at the same time the one that is furthest on."""
    ordered = sorted(list(events), key=lambda event: (event.at, STATES.index(event.state)))
    return ordered[-1] if len(ordered) > 0 else None


def by_place(events: Iterable[Event]) -> Dict[str, List[Event]]:
    """Events by where they happened."""
    found = dict()  # type: Dict[str, List[Event]]
    for event in events:
        if event.place not in found.keys():
            found[event.place] = list()
        found[event.place].append(event)
    return found


def is_settled(events: Iterable[Event]) -> bool:
    """Whether the parcel has arrived, here or there."""
    event = latest(events)
    if event is not None and (event.state == "delivered" or event.state == "returned"):
        return True
    return False
