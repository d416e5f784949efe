"""Values through JSON and annotations."""

import datetime as dt
import json
from dataclasses import dataclass
from uuid import UUID

import pytest

from prodkit.jobs.codec import decode, decode_arguments, digest, encode, encode_arguments, returned


@dataclass
class Opinion:
    name: str
    at: dt.datetime


async def annotated(opinion: Opinion, *more: UUID, deep: dict[int, bytes] | None = None) -> Opinion: ...
async def plain(a, b=1): ...


MOMENT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Opinion("ana", MOMENT), Opinion),
        ([Opinion("ana", MOMENT)], list[Opinion]),
        (b"\xff\x00", bytes),
        ({1: b"\xff"}, dict[int, bytes]),
        (UUID(int=7), UUID),
        ((1, "a"), tuple[int, str]),
        (None, None),
        ("NUL \x00 and \u2028", str),
        ("a lone surrogate \ud800", str),
        (float("inf"), float),
        (dt.timedelta(seconds=3), dt.timedelta),
    ],
)
def test_what_is_annotated_comes_back_as_it_was(value, annotation):
    text = encode(value)
    json.loads(text)
    assert "\x00" not in text
    assert decode(text, annotation) == value


def test_what_is_not_annotated_comes_back_as_json():
    assert decode(encode(Opinion("ana", MOMENT)), returned(plain)) == {
        "name": "ana",
        "at": "2026-11-24T00:00:00Z",
    }


def test_a_value_without_a_json_form_is_refused():
    with pytest.raises(TypeError, match="object cannot be stored as JSON"):
        encode(object())


def test_a_result_that_does_not_fit_its_annotation_is_refused():
    with pytest.raises(TypeError, match="does not fit"):
        decode('"seven"', list[int])


def test_arguments_come_back_as_the_parameters_are_annotated():
    call = (Opinion("ana", MOMENT), UUID(int=1), UUID(int=2)), {"deep": {3: b"x"}}
    args, kwargs = decode_arguments(annotated, encode_arguments(*call))
    assert tuple(args) == call[0]
    assert kwargs == call[1]
    assert decode_arguments(plain, encode_arguments((1,), {"b": 2})) == ([1], {"b": 2})


def test_the_digest_distinguishes_arguments_and_ignores_what_is_no_data():
    assert digest((1, "a"), {}) == digest((1, "a"), {}) != digest((2, "a"), {})
    assert digest((), {"a": 1, "b": 2}) == digest((), {"b": 2, "a": 1})
    assert digest((object(),), {}) == digest((), {}) == ""
