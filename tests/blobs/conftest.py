"""Each kind of place for blobs, real."""

import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from parley_core.blobs import BlobStore
from parley_core.blobstores import blob_store


@pytest.fixture(params=["file", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty blob store of each kind."""
    url = request.getfixturevalue("s3_url") if request.param == "s3" else f"file://{tmp_path}/blobs"
    made = blob_store(url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def s3_url() -> str:
    """A place of its own in the bucket of a real S3 server (AWS_… in the environment)."""
    base = os.environ.get("PARLEY_TEST_S3", "")
    if not base:
        pytest.skip("set PARLEY_TEST_S3 to s3://bucket?endpoint=…")
    return base.replace("?", f"/{uuid.uuid4().hex}?", 1)
