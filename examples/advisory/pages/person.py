"""The fields that experts and personas have in common, and their photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from advisory.pages.forms import Form
from advisory.pages.limits import take
from advisory.services import services
from advisory.store.users import User
from prodkit import files
from prodkit.ratelimit import UPLOAD

__all__ = ["FIELDS", "person_fields", "photo", "values_of"]

FIELDS: Final = ("name", "role", "goals", "style")


def person_fields(form: Form, labels: Mapping[str, str]) -> dict[str, str]:
    """Name, role, goals and style; errors are noted in the form under the page's own labels."""
    return {
        "name": form.text("name", labels["name"], least=2, most=60),
        "role": form.text("role", labels["role"], least=3, most=120),
        "goals": form.text("goals", labels["goals"], least=0, most=600),
        "style": form.text("style", labels["style"], least=0, most=400),
    }


def values_of(person: Any) -> dict[str, str]:
    """The form's values for one that exists."""
    return {each: getattr(person, each) for each in FIELDS}


async def photo(request: Request, form: Form, user: User) -> files.CleanFile | None:
    """The photo, if one came, re-encoded; an error is noted in the form. Counts against the upload limit."""
    if form.file is None:
        return None
    await take(request, (UPLOAD, str(user.id)))
    try:
        return await services(request).avatars.check(
            form.file.content,
            filename=files.safe_filename(form.file.filename),
            declared_type=form.file.media_type,
            sanitise=True,
        )
    except files.InvalidFileError as error:
        form.errors["avatar"] = "A foto foi recusada: " + " ".join(p.message for p in error.problems)
        return None
