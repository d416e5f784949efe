"""An illustrative photo: Unsplash's search. Its use is reported, as the API's guidelines ask, and its author named.

The picture is copied and served by us, re-encoded: our pages load nothing from elsewhere. A deployment whose Unsplash
application has to link to the original image allows ``images.unsplash.com`` in the page's policy instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
from loguru import logger

from advisory.research.model import Item
from advisory.sources.client import Guarded, number
from advisory.sources.errors import SourceError
from prodkit.errors import ProdkitError

__all__ = ["LIMIT", "Photo", "fetch_photo", "judge", "search_photo"]

LIMIT: Final = 20.0
_HOST: Final = "images.unsplash.com"
_MAX_BYTES: Final = 5 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """The bytes as they came: nothing of them is believed."""

    content: bytes
    media_type: str


async def search_photo(client: Guarded, query: str) -> dict[str, Any]:
    """The first photo's credit and its addresses: ``{"items": [one], "image": …, "download": …}``."""
    answer = await client.json(
        "GET",
        "/search/photos",
        within=LIMIT,
        params={"query": query, "per_page": "1", "orientation": "squarish", "content_filter": "high"},
    )
    try:
        if not answer["results"]:
            raise SourceError("nothing")
        found = answer["results"][0]
        item = Item(
            title=f"Foto de {found['user']['name']} no Unsplash",
            url=f"{found['links']['html']}?utm_source=conselho&utm_medium=referral",
            date=str(found.get("created_at", ""))[:10],
            note=str(found.get("alt_description") or ""),
        )
        image, download = str(found["urls"]["small"]), str(found["links"]["download_location"])
    except (KeyError, IndexError, TypeError, AttributeError):
        raise SourceError("shape") from None
    return {"text": "", "items": [item], "image": image, "download": download}


async def fetch_photo(client: Guarded, image: str, download: str) -> Photo:
    """The picture, after its use was reported. A report that fails costs a warning, not the photo."""
    if not client.is_ours(image, _HOST):
        raise SourceError("shape")
    if client.is_ours(download):
        try:
            await client.json("GET", download, within=LIMIT)
        except (SourceError, ProdkitError) as error:
            logger.warning("the use of a photo was not reported ({})", type(error).__name__)
    content, media_type = await client.content("GET", image, within=LIMIT, most=_MAX_BYTES)
    return Photo(content=content, media_type=media_type)


def judge(response: httpx.Response, body: bytes) -> SourceError:
    """Unsplash's errors: the hourly limit is a 403 in plain text, recognised by a header that counts to zero."""
    status = response.status_code
    if response.headers.get("x-ratelimit-remaining") == "0" or b"Rate Limit Exceeded" in body[:200]:
        return SourceError("busy", retry_after=number(response.headers.get("retry-after")) or 3600.0)
    if status == 429:
        return SourceError("busy", retry_after=number(response.headers.get("retry-after")))
    if status in (401, 403):
        return SourceError("credential")
    return SourceError("down" if status >= 500 else "refused")
