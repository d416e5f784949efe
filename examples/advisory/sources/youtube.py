"""Videos: YouTube Data API v3. A search costs 100 of the 10,000 units that a project has a day."""

from __future__ import annotations

import html
import json
from typing import Any, Final

import httpx
from loguru import logger

from advisory.research.model import Item
from advisory.sources.client import Guarded, number
from advisory.sources.errors import SourceError
from prodkit.errors import ProdkitError

__all__ = ["LIMIT", "judge", "search_videos"]

LIMIT: Final = 20.0
_QUOTA: Final = frozenset({"quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"})
_BUSY: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})


async def search_videos(client: Guarded, query: str) -> dict[str, Any]:
    """The descriptions of the videos that were found, and the videos: ``{"text": …, "items": […]}``."""
    answer = await client.json(
        "GET",
        "/youtube/v3/search",
        within=LIMIT,
        params={"part": "snippet", "type": "video", "maxResults": "5", "relevanceLanguage": "pt", "q": query},
    )
    found = _videos(answer, html_escaped=True)
    if not found:
        raise SourceError("nothing")
    try:  # one more unit: whole descriptions. Without them, the shortened ones of the search do.
        details = await client.json(
            "GET", "/youtube/v3/videos", within=LIMIT, params={"part": "snippet", "id": ",".join(found)}
        )
        found |= {key: value for key, value in _videos(details, html_escaped=False).items() if key in found}
    except (SourceError, ProdkitError) as error:
        logger.warning("no details of videos ({})", type(error).__name__)
    items = [
        Item(
            title=snippet["title"],
            url=f"https://www.youtube.com/watch?v={video}",
            date=str(snippet.get("publishedAt", ""))[:10],
            note=str(snippet.get("channelTitle", "")),
        )
        for video, snippet in found.items()
    ]
    text = "\n".join(f"{each['title']}: {str(each.get('description', ''))[:800]}" for each in found.values())
    return {"text": text, "items": items}


def _videos(answer: dict[str, Any], *, html_escaped: bool) -> dict[str, dict[str, Any]]:
    """Snippets by video id. Titles of a search come HTML-escaped, those of ``videos`` do not."""
    try:
        found = {}
        for each in answer["items"]:
            video = each["id"]["videoId"] if html_escaped else each["id"]
            snippet = dict(each["snippet"])
            snippet["title"] = html.unescape(snippet["title"]) if html_escaped else snippet["title"]
            if not (isinstance(video, str) and video.replace("-", "").replace("_", "").isalnum()):
                raise SourceError("shape")
            found[video] = snippet
    except (KeyError, TypeError, AttributeError, ValueError):
        raise SourceError("shape") from None
    return found


def judge(response: httpx.Response, body: bytes) -> SourceError:
    """Google's errors: 403 stands for a used-up quota and for a key without rights, distinguished by the reason."""
    reasons = _reasons(body)
    status = response.status_code
    if reasons & _QUOTA:
        return SourceError("quota")
    if status == 429 or reasons & _BUSY:
        return SourceError("busy", retry_after=number(response.headers.get("retry-after")))
    if status in (401, 403) or "API_KEY_INVALID" in reasons:
        return SourceError("credential")
    return SourceError("down" if status >= 500 else "refused")


def _reasons(body: bytes) -> set[str]:
    try:
        error = json.loads(body)["error"]
        return {str(each.get("reason")) for each in [*error.get("errors", []), *error.get("details", [])]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
