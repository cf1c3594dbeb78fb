"""Each kind of place for blobs, real."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from parley_core.blobs import BlobStore
from parley_core.blobstores import blob_store


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.cluster)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty blob store of each kind."""
    url = request.getfixturevalue("s3_url") if request.param == "s3" else f"file://{tmp_path}/blobs"
    made = blob_store(url)
    await made.open()
    yield made
    await made.close()
