"""All sources of a deployment: those with a key, their breakers, and what they said in the last 24 hours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import prodkit as pk
from advisory.research.model import Finding, Item
from advisory.settings import Settings
from advisory.sources import perplexity, unsplash, youtube
from advisory.sources.client import Guarded, Judge
from advisory.sources.errors import SourceError
from prodkit import cache
from prodkit.core.lifespan import Managed
from prodkit.redis import RedisLink, SharedBreakers

__all__ = ["PERSONA_TTL", "Sources", "tidy"]

PERSONA_TTL: Final = 86400.0
"""Seconds for which an answer is used again: sources change from day to day, not from hour to hour."""

MOST_TEXT: Final = 8000
"""Characters of one source's text: what it says goes into a prompt."""
MOST_ITEMS: Final = 12

Search = Callable[[Guarded, str], Awaitable[dict[str, Any]]]
_SEARCHES: Final[dict[str, Search]] = {
    "web": perplexity.search_web,
    "videos": youtube.search_videos,
    "photo": unsplash.search_photo,
}


def tidy(text: str, *, most: int = 500) -> str:
    """At most so many characters, without what PostgreSQL cannot hold: NUL, and surrogates that stand alone."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:most]


class Secretive(Protocol):
    """A secret of the settings."""

    def reveal(self) -> str: ...


class Sources(Managed):
    """Search by the name of a step: "web", "videos" or "photo"."""

    def __init__(
        self,
        settings: Settings,
        redis: RedisLink,
        *,
        shared: SharedBreakers | None,
        open_for: float = 300.0,
        runtime: pk.Runtime,
    ) -> None:
        def guarded(
            name: str,
            base_url: str,
            key: Secretive | None,
            header: Callable[[str], dict[str, str]],
            judge: Judge,
            limit: float,
        ) -> Guarded | None:
            if key is None:
                return None
            return Guarded(
                name,
                base_url=base_url,
                headers=header(key.reveal()),
                attempt_timeout=limit,
                judge=judge,
                open_for=open_for,
                shared=shared,
                runtime=runtime,
            )

        self._clients = {
            "web": guarded(
                "perplexity",
                settings.perplexity_base_url,
                settings.perplexity_api_key,
                lambda key: {"Authorization": f"Bearer {key}"},
                perplexity.judge,
                45.0,
            ),
            "videos": guarded(
                "youtube",
                settings.youtube_base_url,
                settings.youtube_api_key,
                lambda key: {"X-Goog-Api-Key": key},  # as a parameter it would stand in logs of addresses
                youtube.judge,
                10.0,
            ),
            "photo": guarded(
                "unsplash",
                settings.unsplash_base_url,
                settings.unsplash_access_key,
                lambda key: {"Authorization": f"Client-ID {key}", "Accept-Version": "v1"},
                unsplash.judge,
                10.0,
            ),
        }
        self._cache = cache.Cache(redis, namespace="sources", runtime=runtime)

    @property
    def breakers(self) -> tuple[pk.CircuitBreaker, ...]:
        """One a configured source, for health."""
        return tuple(each.breaker for each in self._clients.values() if each is not None)

    @property
    def any_configured(self) -> bool:
        """True when research can find something."""
        return any(each is not None for each in self._clients.values())

    def paused(self) -> float | None:
        """Seconds until a source may be asked, while every configured one is paused; else None."""
        waits = [each.retry_after for each in self.breakers if each.state == "open"]
        if not waits or len(waits) < len(self.breakers):
            return None
        return max(1.0, min((each for each in waits if each is not None), default=1.0))

    async def search(self, name: str, query: str) -> tuple[Finding, dict[str, Any]]:
        """What a source says about `query`, and the rest of its answer; one of the last 24 hours is used again.

        Raises SourceError, or an error of the kit.
        """
        client = self._clients[name]
        if client is None:
            raise SourceError("unset")

        async def load() -> dict[str, Any]:
            found = await _SEARCHES[name](client, query)
            items = [{key: tidy(text) for key, text in asdict(each).items()} for each in found["items"]]
            text = tidy(found["text"], most=MOST_TEXT)
            now = datetime.now(UTC).isoformat()
            return {**found, "text": text, "items": items[:MOST_ITEMS], "fetched_at": now}

        kept = await self._cache.get_or_set(cache.make_cache_key(name, query), load, ttl=PERSONA_TTL)
        finding = Finding(
            text=kept["text"],
            items=tuple(Item(**each) for each in kept["items"]),
            fetched_at=kept["fetched_at"],
        )
        return finding, kept

    async def photo(self, image: str, download: str) -> unsplash.Photo:
        """The bytes of a photo that a search has named."""
        client = self._clients["photo"]
        if client is None:
            raise SourceError("unset")
        return await unsplash.fetch_photo(client, image, download)

    async def start(self) -> None:
        await self._cache.start()

    async def aclose(self) -> None:
        await self._cache.aclose()
        for each in self._clients.values():
            if each is not None:
                await each.aclose()
