"""A part that is put away and put back is the part that was sent."""

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_core.blobs import Blob, BlobDamaged, digest_of
from parley_runtime.claims import (
    BLOB,
    Claim,
    claim,
    content_of,
    described,
    inline,
    large,
    parts_of,
    restore,
)

URL = "http://host/parley/v1/blobs/x"
_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_parts = st.builds(
    lambda content, rest: ParseDict(rest, pb.Part(**content)),
    st.one_of(
        st.fixed_dictionaries({"raw": st.binary()}),
        st.fixed_dictionaries({"text": st.text()}),
        st.fixed_dictionaries({"data": _json.map(lambda value: ParseDict({"data": value}, pb.Part()).data)}),
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "mediaType": st.text(),
            "filename": st.text(),
            "metadata": st.dictionaries(st.text(), _json),
        },
    ),
)


def put_away(part: pb.Part, index: int = 0) -> tuple[Claim, bytes]:
    data = content_of(part)
    assert data is not None
    return claim(part, index, Blob(digest_of(data), len(data), 0.0), URL), data


@settings(max_examples=150, deadline=None)
@given(_parts)
def test_what_was_put_away_comes_back_exactly(part: pb.Part) -> None:
    sent = pb.Part.FromString(part.SerializeToString())
    claimed, data = put_away(part)
    assert part.url == URL
    assert part.media_type
    assert part.filename == sent.filename
    assert Claim.from_json(claimed.to_json()) == claimed
    restore(part, claimed, data)
    assert part == sent


@settings(max_examples=150, deadline=None)
@given(_parts)
def test_a_client_can_put_it_back_from_what_the_part_says(part: pb.Part) -> None:
    kind = part.WhichOneof("content")
    _, data = put_away(part)
    assert described(part) == (kind, len(data))
    inline(part, data)
    assert part.WhichOneof("content") == kind
    assert content_of(part) == data
    assert BLOB not in part.metadata


def test_content_of_another_kind_is_damage() -> None:
    for part, wrong in (
        (pb.Part(text="x"), b"\xff"),
        (ParseDict({"data": {"a": 1}}, pb.Part()), b"{"),
    ):
        claimed, _ = put_away(part)
        with pytest.raises(BlobDamaged):
            restore(part, claimed, wrong)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {BLOB: "text"},
        {BLOB: {"content": "url", "size": 1}},
        {BLOB: {"content": "raw", "size": "1"}},
        {BLOB: {"size": 1}},
    ],
)
def test_what_others_write_there_is_not_believed(told: dict[str, object]) -> None:
    part = ParseDict({"url": URL, "metadata": told}, pb.Part())
    assert described(part)[1] == 0
    odd = pb.Part(url=URL)
    odd.metadata.update({BLOB: {"content": "raw"}})
    odd.metadata.fields[BLOB].struct_value.fields["size"].number_value = float("nan")
    assert described(odd) == ("", 0)
    assert described(pb.Part(text="x")) == ("", 0)


def test_parts_over_the_limit_are_large_and_so_are_the_largest_of_too_many() -> None:
    def sizes(*sizes: int) -> list[pb.Part]:
        return [pb.Part(raw=b"x" * size) for size in sizes]

    assert large(sizes(10, 90, 80), 100) == []
    assert large(sizes(10, 101, 10), 100) == [1]
    assert large([*sizes(101), pb.Part(url="x" * 200), pb.Part(text="y" * 200)], 100) == [0, 2]
    assert large(sizes(90, 80, 90, 90, 10, 90, 90), 100) == [5, 6]
    assert large([], 100) == []


def test_every_part_of_an_event_is_found() -> None:
    one, two, three = (pb.Part(text=text) for text in "123")
    status = pb.TaskStatus(message=pb.Message(parts=[one]))
    task = pb.Task(
        status=status, artifacts=[pb.Artifact(parts=[two])], history=[pb.Message(parts=[three, one])]
    )
    assert list(parts_of(task)) == [one, two, three, one]
    assert list(parts_of(pb.Message(parts=[one, two]))) == [one, two]
    assert list(parts_of(pb.TaskStatusUpdateEvent(status=status))) == [one]
    assert list(parts_of(pb.TaskArtifactUpdateEvent(artifact=pb.Artifact(parts=[two])))) == [two]


def test_data_that_json_cannot_say_stays_where_it_is() -> None:
    part = pb.Part()
    part.data.number_value = float("inf")
    assert content_of(part) is None
    assert content_of(pb.Part(url=URL)) is None
