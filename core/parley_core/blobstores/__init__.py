"""The backends of the blob store port, by address."""

from urllib.parse import parse_qs, unquote, urlsplit

from parley_core.blobs import BlobStore
from parley_core.errors import ConfigurationError


def blob_store(url: str) -> BlobStore:
    """The store at `file:///folder`, a plain path, or `s3://bucket/prefix?endpoint=…&region=…`. Nothing is called yet.

    Raises ConfigurationError for an address of no known kind.
    """
    if "://" not in url and url:
        from parley_core.blobstores.file import FileBlobs

        return FileBlobs(url)
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.strip("/"):
        from parley_core.blobstores.file import FileBlobs

        return FileBlobs(unquote(parts.path))
    if parts.scheme == "s3" and parts.netloc:
        from parley_core.blobstores.s3 import S3Blobs

        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if unknown := options.keys() - {"endpoint", "region"}:
            raise ConfigurationError(
                f"s3://{parts.netloc}: {', '.join(sorted(unknown))} is no option; use ?endpoint=…&region=…"
            )
        return S3Blobs(parts.netloc, unquote(parts.path).strip("/"), **options)
    raise ConfigurationError(
        f"{url.partition('?')[0]!r} is not a place for blobs; use file:///folder or "
        "s3://bucket/prefix?endpoint=http://…&region=…"
    )
