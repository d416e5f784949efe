"""The paths and the stream format of other providers, for the same simulated model."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from prodkit.llm.event_stream import encode_message
from prodkit.testing.anthropic.wire import Chunks, Request

__all__ = ["AMAZON", "AmazonChunks", "translated"]

AMAZON: Final = "application/vnd.amazon.eventstream"
_BEDROCK: Final = re.compile(r"/model/(?P<model>[^/]+)/invoke(?P<stream>-with-response-stream)?")
_VERTEX: Final = re.compile(
    r"(?:/v1)?/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>[^:]+):\w+"
)


def translated(request: Request, body: Any) -> tuple[Request, Any, bool]:
    """Return a request of Bedrock or Vertex as one of the Messages API, and True for Amazon's event stream."""
    if not isinstance(body, dict):
        return request, body, False
    if found := _BEDROCK.fullmatch(request.path):
        streamed = found["stream"] is not None
        body = {**body, "model": unquote(found["model"]), "stream": streamed}
        return replace(request, path="/v1/messages"), body, streamed
    if found := _VERTEX.fullmatch(unquote(request.path)):
        if found["model"] == "count-tokens":
            return replace(request, path="/v1/messages/count_tokens"), body, False
        return replace(request, path="/v1/messages"), {**body, "model": found["model"]}, False
    return request, body, False


class AmazonChunks(Chunks):
    """A chunked body in Amazon's event stream, made of Server-Sent Events."""

    async def send(self, data: bytes) -> None:
        out = b""
        for block in data.split(b"\n\n"):
            lines = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
            if not lines or b'"type": "ping"' in lines[0]:
                continue
            if b'"type": "error"' in lines[0]:
                error = json.loads(lines[0])["error"]
                payload = json.dumps({"message": error["message"]}).encode()
                out += encode_message(
                    payload, message_type="exception", exception_type="serviceUnavailableException"
                )
                continue
            chunk = json.dumps({"bytes": base64.b64encode(lines[0]).decode()}).encode()
            out += encode_message(
                chunk, message_type="event", event_type="chunk", content_type="application/json"
            )
        await super().send(out)
