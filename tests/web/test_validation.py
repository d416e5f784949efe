"""Validation errors as problems: the place, the code, a sentence in the reader's language, never the input."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.ratelimit.messages import Language
from prodkit.web.validation import of_validation


def fault(kind: str, *loc: Any, language: Language = "en", **context: Any) -> dict[str, Any]:
    """Return the one fault of a document."""
    raw = {"type": kind, "loc": loc, "ctx": context, "input": "secret", "msg": "Input 'secret' is bad"}
    problem = of_validation([raw], language)
    assert (problem.status, problem.code) == (422, "invalid")
    assert "secret" not in str(problem.body())
    found: dict[str, Any] = problem.extra["errors"][0]
    return found


@pytest.mark.parametrize(
    ("loc", "place", "pointer"),
    [
        (("body", "items", 0, "name"), "body", "#/items/0/name"),
        (("query", "page"), "query", "#/page"),
        (("body",), "body", "#"),
        ((), "body", "#"),
        (("body", "a/b~c"), "body", "#/a~1b~0c"),  # RFC 6901
    ],
)
def test_the_place_is_a_json_pointer(loc: tuple[Any, ...], place: str, pointer: str) -> None:
    found = fault("missing", *loc)
    assert (found["in"], found["pointer"]) == (place, pointer)


def test_a_body_that_is_no_json_has_no_path_in_it() -> None:
    assert fault("json_invalid", "body", 17)["pointer"] == "#"


@pytest.mark.parametrize(
    ("kind", "context", "language", "detail"),
    [
        ("missing", {}, "en", "This field is required."),
        ("missing", {}, "pt-BR", "Este campo é obrigatório."),
        ("string_too_short", {"min_length": 3}, "en", "At least 3 characters are required."),
        ("less_than_equal", {"le": 10}, "pt-BR", "O valor deve ser no máximo 10."),
        ("int_parsing", {}, "en", "A whole number is expected."),
        ("uuid_parsing", {}, "pt-BR", "É esperado um identificador (UUID)."),
        ("something_new", {}, "en", "The value is not valid."),
        ("string_too_short", {}, "en", "The value is not valid."),  # the fact that the text names is missing
    ],
)
def test_texts(kind: str, context: dict[str, Any], language: Language, detail: str) -> None:
    found = fault(kind, "body", "x", language=language, **context)
    assert (found["code"], found["detail"]) == (kind, detail)


def test_faults_keep_their_order_and_bare_ones_are_survived() -> None:
    problem = of_validation([{"type": "missing", "loc": ("body", "a")}, {}], "en")
    assert [each["code"] for each in problem.extra["errors"]] == ["missing", "invalid"]
    assert of_validation([], "en").extra == {"errors": []}
