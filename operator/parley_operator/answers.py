"""Answers of strangers over HTTP, read no further than is sound."""

import aiohttp


class TooLarge(ValueError):
    """An answer has more bytes than are read of it."""


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it has more than `most` bytes."""
    text = b""
    async for chunk in response.content.iter_any():
        text += chunk
        if len(text) > most:
            raise TooLarge(f"more than {most // 2**20} MiB was answered")
    return text
