"""Cached exceptions: encoded by name, restored only among the classes that the caller names."""

from __future__ import annotations

import pytest

from prodkit.cache.failures import decode_failure, encode_failure, negative_ttl, restore


class MissingError(LookupError):
    pass


class StrictError(Exception):
    def __init__(self, first: int, *, second: int) -> None:
        super().__init__(first)
        self.second = second


def test_an_error_comes_back_with_its_arguments() -> None:
    payload = encode_failure(MissingError("user", 7))
    assert payload is not None
    failure = decode_failure(payload)
    assert failure is not None
    for named in (MissingError, LookupError):  # the class itself, or a base of it
        found = restore(failure, {named: 5})
        assert type(found) is MissingError
        assert found.args == ("user", 7)
    assert restore(failure, {OSError: 5}) is None


def test_a_class_that_does_not_take_its_own_arguments_is_not_cached() -> None:
    payload = encode_failure(StrictError(1, second=2))
    assert payload is not None
    failure = decode_failure(payload)
    assert failure is not None
    assert restore(failure, {StrictError: 5}) is None


@pytest.mark.parametrize("argument", [object(), b"x", float("nan"), {1, 2}])
def test_arguments_that_json_cannot_hold_are_not_cached(argument: object) -> None:
    assert encode_failure(MissingError(argument)) is None


def test_a_value_is_no_failure() -> None:
    assert decode_failure(b'"value"') is None
    assert decode_failure(b"") is None


def test_the_most_specific_class_gives_the_ttl() -> None:
    named = {Exception: 1.0, LookupError: 2.0}
    assert negative_ttl(MissingError(), named) == 2.0
    assert negative_ttl(OSError(), named) == 1.0
    assert negative_ttl(OSError(), {LookupError: 2.0}) is None
