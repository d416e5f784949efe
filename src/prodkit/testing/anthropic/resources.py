"""Batches, files and models of the simulated API, in memory."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from prodkit.testing.anthropic.wire import Request

__all__ = ["MODELS", "Content", "Resources"]

MODELS: Final = (
    ("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet"),
    ("claude-haiku-5-5", "Claude Haiku 5.5", "haiku"),
    ("claude-haiku-4-5", "Claude Haiku 4.5", "haiku"),
    ("claude-opus-5-5", "Claude Opus 5.5", "opus"),
)
_SECONDS: Final = 0.3  # in which a batch ends
_PART: Final = re.compile(
    rb'filename="([^"]*)"[^\r]*\r\nContent-Type: ([^\r]*)\r\n\r\n(.*)\r\n--', re.DOTALL | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, to be sent with ranges and faults."""

    data: bytes
    media_type: str


@dataclass(slots=True)
class Resources:
    """The objects that the API keeps; `compose` makes the message of one request of a batch."""

    compose: Callable[[Mapping[str, Any]], dict[str, Any]]
    batches: dict[str, tuple[float, list[dict[str, Any]]]] = field(default_factory=dict)
    files: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)

    def answer(self, request: Request, body: Any) -> tuple[int, Any] | None:
        """Return status and body of a request for a resource, None for others.

        A list of bytes is a stream of lines, a :class:`Content` the bytes of a file, a text an error.
        """
        parts = request.path.removeprefix("/v1/").strip("/").split("/")
        if parts[0] == "models" and request.method == "GET":
            return self._models(parts[1:])
        if parts[:2] == ["messages", "batches"]:
            return self._batches(request.method, parts[2:], request.headers.get("host", ""), body)
        if parts[0] == "files":
            return self._files(request, parts[1:])
        return None

    def _models(self, rest: list[str]) -> tuple[int, Any]:
        data = [
            {
                "id": name,
                "type": "model",
                "display_name": shown,
                "created_at": "2026-01-01T00:00:00Z",
                "line": line,
                "lifecycle": "active",
            }
            for name, shown, line in MODELS
        ]
        if rest:
            found = next((each for each in data if each["id"] == rest[0]), None)
            return (200, found) if found else (404, f"model: {rest[0]}")
        return 200, {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}

    def _batches(self, method: str, rest: list[str], host: str, body: Any) -> tuple[int, Any]:
        if not rest and method == "POST":
            requests = body.get("requests") if isinstance(body, dict) else None
            if not isinstance(requests, list) or not requests:
                return 400, "requests: Field required"
            key = f"msgbatch_sim_{len(self.batches) + 1:04d}"
            self.batches[key] = (time.monotonic(), requests)
            return 200, self._batch(key, host)
        if not rest:
            newest = [self._batch(each, host) for each in reversed(self.batches)]
            return 200, {"data": newest, "has_more": False, "first_id": None, "last_id": None}
        if rest[0] not in self.batches:
            return 404, "batch not found"
        if rest[1:] == ["results"]:
            return 200, [self._result(each) for each in self.batches[rest[0]][1]]
        return 200, self._batch(rest[0], host)

    def _batch(self, key: str, host: str) -> dict[str, Any]:
        begun, requests = self.batches[key]
        ended = time.monotonic() - begun >= _SECONDS
        count = len(requests)
        return {
            "id": key,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {
                "processing": 0 if ended else count,
                "succeeded": count if ended else 0,
                "errored": 0,
                "canceled": 0,
                "expired": 0,
            },
            "created_at": "2026-11-24T00:00:00Z",
            "expires_at": "2026-11-25T00:00:00Z",
            "results_url": f"http://{host}/v1/messages/batches/{key}/results" if ended else None,
        }

    def _result(self, request: Mapping[str, Any]) -> bytes:
        result = {"type": "succeeded", "message": self.compose(request["params"])}
        return (
            json.dumps({"custom_id": request["custom_id"], "result": result}, ensure_ascii=False).encode()
            + b"\n"
        )

    def keep(self, data: bytes, filename: str, media_type: str, *, downloadable: bool) -> str:
        """Keep a file and return its id; the API lets only the files that it made itself be downloaded."""
        key = f"file_sim_{len(self.files) + 1:04d}"
        body = {
            "id": key,
            "type": "file",
            "filename": filename,
            "mime_type": media_type,
            "size_bytes": len(data),
            "created_at": "2026-11-24T00:00:00Z",
            "downloadable": downloadable,
        }
        self.files[key] = (body, data)
        return key

    def _files(self, request: Request, rest: list[str]) -> tuple[int, Any]:
        if not rest and request.method == "POST":
            found = _PART.search(request.content)
            name, kind, data = found.groups() if found else (b"unnamed", b"application/octet-stream", b"")
            key = self.keep(data, name.decode(), kind.decode(), downloadable=False)
            return 200, self.files[key][0]
        if not rest:
            after = parse_qs(request.query).get("page", ["0"])[0]
            start, size = int(after), int(parse_qs(request.query).get("limit", ["20"])[0])
            page = [body for body, _ in self.files.values()][start : start + size]
            more = start + size < len(self.files)
            return 200, {"data": page, "next_page": str(start + size) if more else None}
        if rest[0] not in self.files:
            return 404, "file not found"
        body, data = self.files[rest[0]]
        if request.method == "DELETE":
            del self.files[rest[0]]
            return 200, {"id": rest[0], "type": "file_deleted"}
        if rest[1:] == ["content"]:
            return (
                (200, Content(data, body["mime_type"]))
                if body["downloadable"]
                else (400, "file not downloadable")
            )
        return 200, body
