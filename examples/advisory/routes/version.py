"""The version and commit of this process, to compare with the commit that was pushed."""

from __future__ import annotations

import os

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from prodkit import __version__

__all__ = ["router"]

router = APIRouter()


@router.get("/version")
async def version() -> Response:
    """Return the kit's version and the commit that was built into the image (``unknown`` outside of one)."""
    body = {"prodkit": __version__, "commit": os.environ.get("COMMIT", "unknown")}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
