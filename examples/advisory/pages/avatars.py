"""Photos: their rules, and the forms that bring one, checked while they arrive."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from advisory.pages.forms import Form, is_multipart, read_form
from advisory.pages.limits import TooManyError
from advisory.services import services
from advisory.store.users import User
from prodkit import files, web
from prodkit.ratelimit import UPLOAD

__all__ = ["read_with_photo"]

_REST: Final = 2**20
"""Bytes of the fields behind a refused photo, so that the page shows again what was typed."""


async def read_with_photo(request: Request, user: User) -> tuple[Form, files.CleanFile | None]:
    """Read a form, and its photo re-encoded, if one came; an error is noted in the form.

    A photo counts against the upload limit, and beyond the limit not a byte of it is looked at.
    """
    if not is_multipart(request):
        return await read_form(request), None
    app = services(request)
    decision = await app.limiter.check((UPLOAD, str(user.id)))

    def refuse(*_: Any) -> None:
        raise TooManyError(decision)

    upload = web.Upload(
        app.avatars,
        field="avatar",
        sanitise=True,
        required=False,
        max_fields=40,
        max_field_bytes=_REST,
        on_progress=None if decision.allowed else refuse,
        raise_refused=False,
        max_rest=_REST,
    )
    found = await upload(request)
    if decision.allowed and found.file is None and not found.refused:
        await app.limiter.refund(decision)
    form = Form(values=found.fields)
    if found.problems:
        form.errors["avatar"] = "A foto foi recusada: " + " ".join(each.message for each in found.problems)
    return form, found.file
