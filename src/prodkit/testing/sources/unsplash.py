"""Unsplash: photo search, download tracking, the photos themselves, the hourly limit and its errors."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Any, Final

from prodkit.testing.sources.reply import Api, Query, Reply, chance_of, day_of

__all__ = ["Unsplash"]

_MESSAGES: Final = {
    401: "OAuth error: The access token is invalid",
    403: "Rate Limit Exceeded",
    404: "Couldn't find Photo",
    500: "Something went wrong on our end.",
    503: "Something went wrong on our end.",
}
_HOURLY: Final = 50
"""Requests an hour of a new application, as the documentation says; only reported in headers when no quota is set."""


class Unsplash(Api):
    """Photos that are plain colours."""

    name = "unsplash"

    def units(self, query: Query) -> int:
        """Return 1; photos themselves are free, as they come from another host."""
        return 0 if query.path.startswith("/photo-") else 1

    def answer(self, query: Query, *, empty: bool, left: int | None) -> Reply:
        """Return search results, one photo, the address of a download, or the bytes of a photo."""
        parts = query.path.strip("/").split("/")
        if query.method != "GET":
            return self.error(404)
        if parts[0].startswith("photo-"):
            return Reply(content=_picture(parts[0]), media_type="image/png")
        scheme, _, key = query.headers.get("authorization", "").partition(" ")
        key = key if scheme == "Client-ID" else query.parameters.get("client_id", "")
        if not key or "invalid" in key:
            return self.error(401)
        headers = {
            "x-ratelimit-limit": str(_HOURLY),
            "x-ratelimit-remaining": str(_HOURLY if left is None else left),
        }
        match parts:
            case ["search", "photos"]:
                return self._search(query, headers, empty=empty)
            case ["photos", photo]:
                return Reply(data=_photo(photo, query.base), headers=headers)
            case ["photos", photo, "download"]:
                return Reply(data={"url": f"{query.base}/photo-{photo}?dl=1"}, headers=headers)
            case _:
                return self.error(404)

    def error(self, status: int) -> Reply:
        """Return a list of messages, as the API does."""
        return Reply(status=status, data={"errors": [_MESSAGES.get(status, "The simulator says no")]})

    def quota(self) -> Reply:
        """Return the 403 of the hourly limit: plain text, and no header says when it ends."""
        return Reply(
            status=403,
            content=b"Rate Limit Exceeded",
            media_type="text/plain",
            headers={"x-ratelimit-limit": str(_HOURLY), "x-ratelimit-remaining": "0"},
        )

    def _search(self, query: Query, headers: dict[str, str], *, empty: bool) -> Reply:
        asked = query.parameters.get("query", "")
        if not asked:
            return Reply(status=400, data={"errors": ["query is missing"]})
        most = query.parameters.get("per_page", "10")
        count = 0 if empty else min(int(most) if most.isdigit() else 10, 10)
        found = [
            _photo(f"{chance_of(f'unsplash {asked} {n}').getrandbits(44):011x}", query.base)
            for n in range(count)
        ]
        data = {"total": len(found), "total_pages": 1 if found else 0, "results": found}
        return Reply(data=data, headers={**headers, "x-total": str(len(found)), "x-per-page": most})


def _photo(photo: str, base: str) -> dict[str, Any]:
    chance = chance_of(f"photo {photo}")
    name = chance.choice(("Lia Nunes", "Tomás Alves", "Rita Sá", "Igor Melo"))
    user = name.lower().replace(" ", "").encode("ascii", "ignore").decode()
    image = f"{base}/photo-{photo}"
    return {
        "id": photo,
        "created_at": f"{day_of(chance).isoformat()}T09:00:00Z",
        "width": 4000,
        "height": 3000,
        "color": f"#{chance.getrandbits(24):06x}",
        "blur_hash": "LFC$yHwc8^$yIAS$%M%00KxukYIp",
        "likes": chance.randrange(900),
        "description": None,
        "alt_description": "pessoa olhando pela janela de uma loja",
        "urls": {
            size: f"{image}?w={width}"
            for size, width in (("raw", 0), ("regular", 1080), ("small", 400), ("thumb", 200))
        },
        "links": {
            "self": f"{base}/photos/{photo}",
            "html": f"https://unsplash.com/photos/{photo}",
            "download": f"https://unsplash.com/photos/{photo}/download",
            "download_location": f"{base}/photos/{photo}/download?ixid={chance.getrandbits(32):08x}",
        },
        "user": {
            "id": f"u{chance.getrandbits(32):08x}",
            "username": user,
            "name": name,
            "links": {"html": f"https://unsplash.com/@{user}"},
        },
    }


@lru_cache(maxsize=64)
def _picture(name: str) -> bytes:
    """Return a PNG of 320 x 240 in two colours of its own."""
    chance = chance_of(f"picture {name}")
    first, second = (bytes(chance.randrange(40, 216) for _ in range(3)) for _ in range(2))
    rows = b"".join(b"\0" + (first if (y // 40) % 2 else second) * 320 for y in range(240))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 320, 240, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
