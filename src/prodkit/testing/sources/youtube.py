"""YouTube Data API v3: ``search``, ``videos`` and ``captions``, with quota units and Google's errors."""

from __future__ import annotations

import html
from typing import Any, Final

from prodkit.testing.sources.reply import Api, Query, Reply, chance_of, day_of, opinion_of

__all__ = ["YouTube"]

_UNITS: Final = {"/youtube/v3/search": 100, "/youtube/v3/videos": 1, "/youtube/v3/captions": 50}
"""The costs of the documentation; a project has 10,000 a day."""
_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_REASON: Final = {
    400: "badRequest",
    401: "required",
    403: "forbidden",
    404: "notFound",
    429: "rateLimitExceeded",
}


class YouTube(Api):
    """Invented videos. Titles of a search are HTML-escaped, as the real ones are."""

    name = "youtube"

    def units(self, query: Query) -> int:
        """Return the documented cost of a call."""
        return _UNITS.get(query.path, 0)

    def answer(self, query: Query, *, empty: bool, left: int | None) -> Reply:
        """Return a list response."""
        if query.path not in _UNITS or query.method != "GET":
            return self._refused(404, "The requested URL was not found on this server.")
        key = query.headers.get("x-goog-api-key") or query.parameters.get("key", "")
        bearer = query.headers.get("authorization", "").startswith("Bearer ")
        if not key and not bearer:
            return self._refused(
                403, "Method doesn't allow unregistered callers (callers without established identity)."
            )
        if "invalid" in key:
            return self._invalid_key()
        if not query.parameters.get("part"):
            return self._refused(
                400, "No filter selected. Expected one of: part", reason="missingRequiredParameter"
            )
        match query.path:
            case "/youtube/v3/search":
                return self._search(query, empty=empty)
            case "/youtube/v3/videos":
                return self._videos(query)
            case _:
                return self._captions(query, allowed=bearer)

    def error(self, status: int) -> Reply:
        """Return an error in Google's form."""
        return self._refused(
            status, {503: "The service is currently unavailable."}.get(status, "The simulator says no")
        )

    def quota(self) -> Reply:
        """Return the 403 of a project whose daily units are used up."""
        message = (
            "The request cannot be completed because you have exceeded your "
            '<a href="/youtube/v3/getting-started#quota">quota</a>.'
        )
        return self._refused(403, message, domain="youtube.quota", reason="quotaExceeded", named=False)

    def _invalid_key(self) -> Reply:
        found = self._refused(400, "API key not valid. Please pass a valid API key.")
        found.data["error"]["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "youtube.googleapis.com"},
            }
        ]
        return found

    def _refused(
        self, status: int, message: str, *, domain: str = "global", reason: str = "", named: bool = True
    ) -> Reply:
        one = {"message": message, "domain": domain, "reason": reason or _REASON.get(status, "backendError")}
        error: dict[str, Any] = {"code": status, "message": message, "errors": [one]}
        if named and status in _STATUS:
            error["status"] = _STATUS[status]
        return Reply(status=status, data={"error": error})

    def _search(self, query: Query, *, empty: bool) -> Reply:
        asked = query.parameters.get("q", "")
        most = query.parameters.get("maxResults", "5")
        if not most.isdigit() or int(most) > 50:
            return self._refused(
                400,
                "Invalid value for maxResults: values must be within the range: [0, 50]",
                reason="invalidParameter",
            )
        found = [] if empty else [_video(asked, number) for number in range(min(int(most), 8))]
        items = [
            {
                "kind": "youtube#searchResult",
                "etag": each["etag"],
                "id": {"kind": "youtube#video", "videoId": each["id"]},
                "snippet": {
                    **each["snippet"],
                    "title": html.escape(each["snippet"]["title"]),
                    "publishTime": each["snippet"]["publishedAt"],
                },
            }
            for each in found
        ]
        return Reply(data=_listing("youtube#searchListResponse", items, regionCode="BR"))

    def _videos(self, query: Query) -> Reply:
        wanted = [each for each in query.parameters.get("id", "").split(",") if each]
        if not wanted:
            return self._refused(
                400, "No filter selected. Expected one of: id", reason="missingRequiredParameter"
            )
        return Reply(data=_listing("youtube#videoListResponse", [_of_id(each) for each in wanted[:50]]))

    def _captions(self, query: Query, *, allowed: bool) -> Reply:
        if not allowed:  # the real one lists captions for OAuth only
            return self._refused(401, "API keys are not supported by this API. Expected OAuth2 access token.")
        video = query.parameters.get("videoId", "")
        if not video:
            return self._refused(
                400, "Missing required parameter: videoId", reason="missingRequiredParameter"
            )
        snippet = {
            "videoId": video,
            "lastUpdated": "2026-01-15T12:00:00Z",
            "trackKind": "asr",
            "language": "pt",
            "name": "",
            "audioTrackType": "unknown",
            "isCC": False,
            "isLarge": False,
            "isEasyReader": False,
            "isDraft": False,
            "isAutoSynced": False,
            "status": "serving",
        }
        item = {"kind": "youtube#caption", "etag": f"e-{video}", "id": f"caption-{video}", "snippet": snippet}
        return Reply(data={"kind": "youtube#captionListResponse", "etag": "sim", "items": [item]})


def _listing(kind: str, items: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    page = {"totalResults": len(items), "resultsPerPage": len(items)}
    return {"kind": kind, "etag": "sim", **more, "pageInfo": page, "items": items}


def _video(asked: str, number: int) -> dict[str, Any]:
    return _of_id(f"{chance_of(f'youtube {asked} {number}').getrandbits(44):011x}")


def _of_id(video: str) -> dict[str, Any]:
    """Return a video by its id alone, so that ``search`` and ``videos`` agree."""
    chance = chance_of(f"video {video}")
    day = day_of(chance)
    said = opinion_of(chance, 2)
    thumbnail = {"url": f"https://i.ytimg.example/vi/{video}/default.jpg", "width": 120, "height": 90}
    return {
        "kind": "youtube#video",
        "etag": f"e-{video}",
        "id": video,
        "snippet": {
            "publishedAt": f"{day.isoformat()}T12:00:00Z",
            "channelId": f"UC{chance.getrandbits(64):016x}",
            "title": f"Conversa sobre escolhas & hábitos: “{said[0]}”",
            "description": f"Nesta conversa: {said[0]}; {said[1]}.",
            "thumbnails": {"default": thumbnail},
            "channelTitle": chance.choice(("Canal do Bairro", "Negócios em Foco", "Gente que Decide")),
            "liveBroadcastContent": "none",
        },
        "contentDetails": {
            "duration": f"PT{chance.randrange(2, 50)}M{chance.randrange(60)}S",
            "caption": "true",
        },
        "statistics": {
            "viewCount": str(chance.randrange(100, 900_000)),
            "likeCount": str(chance.randrange(9000)),
        },
    }
