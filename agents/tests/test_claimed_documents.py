"""A document that a child's host had put away is in the task again that the orchestrator keeps."""

from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_agents.bundles import Exchange
from parley_agents.orchestrator.answers import kept
from parley_core.bloblinks import UrlSigner
from parley_core.blobs import put_bytes
from parley_core.blobstores import blob_store
from parley_runtime.claims import claim, content_of


@pytest.mark.parametrize("part", [{"text": "<testsuite/>"}, {"data": {"steps": ["a"]}}])
async def test_documents_are_put_back_and_what_cannot_be_had_stays_a_url(
    tmp_path: Path, part: dict[str, object]
) -> None:
    store, signer = blob_store(str(tmp_path / "blobs")), UrlSigner(b"k" * 32, "http://blobs")
    sent = ParseDict(part | {"mediaType": "application/x"}, pb.Part())
    here, gone = pb.Part(), pb.Part()
    for travelling in (here, gone):
        travelling.CopyFrom(sent)
        data = content_of(sent)
        assert data is not None
        blob = await put_bytes(store, data)
        claim(travelling, 0, blob, signer.sign(blob.digest))
    gone.url = gone.url.replace(blob.digest, "0" * 64)
    task = pb.Task(id="t", artifacts=[pb.Artifact(parts=[here, gone])])
    exchange = Exchange(store, signer, own_url="http://127.0.0.1:1")
    assert list((await kept(task, exchange)).artifacts[0].parts) == [sent, gone]
