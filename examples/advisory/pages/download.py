"""Files that a page offers for download."""

from __future__ import annotations

from starlette.responses import Response

__all__ = ["markdown_file"]


def markdown_file(text: str, name: str) -> Response:
    """`text` as a Markdown file called `name`, which no cache keeps."""
    return Response(
        text,
        media_type="text/markdown; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
