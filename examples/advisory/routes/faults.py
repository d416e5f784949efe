"""The demo's fault panel. Everywhere else these pages do not exist."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.pages.forms import read_form
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.services import services

__all__ = ["router"]

router = APIRouter()


@router.get("/demo/falhas")
async def panel(request: Request) -> Response:
    app = services(request)
    if app.demo is None:
        raise HTTPException(404)
    await signed_in(request)
    return app.pages.page(request, "faults.html", faults=app.demo.faults.values())


@router.post("/demo/falhas")
async def cause(request: Request) -> Response:
    app = services(request)
    if app.demo is None:
        raise HTTPException(404)
    await signed_in(request)
    fault = app.demo.faults.get((await read_form(request)).values.get("fault", ""))
    if fault is None:
        raise HTTPException(404)
    session_of(request)["notice"] = f"Feito: {fault.label}."
    await asyncio.to_thread(fault.run)
    return redirect("/demo/falhas")
