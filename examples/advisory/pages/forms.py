"""Submitted forms, their errors, and the checks that the forms share."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["MIN_PASSWORD", "Form", "is_multipart", "read_form"]

MIN_PASSWORD = 10
MAX_PASSWORD = 200
_EMAIL = re.compile(
    r"[^@\s\x00-\x1f\x7f<>\"',;:()\[\]\\]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
    re.IGNORECASE,
)


_GUESSED = frozenset((
    "0123456789", "0987654321", "1234567890", "1234567891", "12345678910", "123456789a", "1q2w3e4r5t", "abcdefghij",
    "minhasenha", "password12", "password123", "qwertyuiop", "senha12345", "senha123456", "senhasenha",
))  # fmt: skip
"""The most used passwords that are long enough."""
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
"""Not for texts; among them those that turn the writing direction of all that follows on the page."""
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters, marks and signs by their category, and drawn as nothing: fillers, selectors, the empty Braille cell."""


@dataclass
class Form:
    """Values for the page to show again, and errors by field. Passwords are never among the values."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str, label: str, *, least: int = 1, most: int) -> str:
        """The trimmed text of a field; notes an error when it is missing, too short or too long."""
        value = _CONTROLS.sub("", self.values.get(name, ""))
        value = " ".join(value.split()) if most <= 200 else value.strip()
        if all(
            unicodedata.category(each)[0] in "CZ" for each in _UNSEEN.sub("", value)
        ):  # nothing that can be seen
            value = ""
        self.values[name] = value
        if not value and least:
            self.errors[name] = f"Preencha o campo “{label}”."
        elif len(value) < least:
            self.errors[name] = f"“{label}” precisa de pelo menos {least} caracteres; tem {len(value)}."
        elif len(value) > most:
            self.errors[name] = f"“{label}” pode ter no máximo {most} caracteres; tem {len(value)}."
        return value

    def key(self) -> UUID | None:
        """The number of this very form: the same when it is sent twice. None from forms without one."""
        try:
            return UUID(self.values.get("form_key", ""))
        except ValueError:
            return None

    def email(self) -> str:
        """A plausible address, in small letters. Whether it exists only a message to it could tell."""
        value = self.values.get("email", "").strip().lower()
        self.values["email"] = value
        if not value:
            self.errors["email"] = "Preencha o campo “E-mail”."
        elif len(value) > 254 or not _EMAIL.fullmatch(value):
            self.errors["email"] = "Escreva um e-mail válido, como ana@exemplo.com.br."
        return value

    def password(self, *, new: bool, email: str | None = None) -> str:
        """Taken out of the values, as it is: blanks in a password count.

        A new one is not the account's `email`, nor one of those that are tried first.
        """
        value = self.values.pop("password", "")
        if not value:
            self.errors["password"] = "Preencha o campo “Senha”."
        elif new and len(value) < MIN_PASSWORD:
            self.errors["password"] = f"A senha precisa de pelo menos {MIN_PASSWORD} caracteres."
        elif len(value) > MAX_PASSWORD:
            self.errors["password"] = f"A senha pode ter no máximo {MAX_PASSWORD} caracteres."
        elif new and (not value.strip() or value.lower() in (*_GUESSED, email)):
            self.errors["password"] = (
                "Esta senha é fácil de adivinhar. Uma frase com várias palavras é melhor."
            )
        return value


def is_multipart(request: Request) -> bool:
    """True for a form that may bring a file."""
    return request.headers.get("content-type", "").lower().lstrip().startswith("multipart/")


async def read_form(request: Request) -> Form:
    """Read a form without a file; one with a photo is `avatars.read_with_photo`'s to read."""
    if is_multipart(request):
        raise HTTPException(400)
    form = Form()
    for name, value in (await request.form(max_fields=40)).multi_items():
        assert isinstance(value, str)
        form.values[name] = value
        form.lists.setdefault(name, []).append(value)
    return form
