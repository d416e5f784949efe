"""The fields that experts and personas have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from advisory.pages.forms import Form

__all__ = ["FIELDS", "person_fields", "values_of"]

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
