import math
import re

import pytest

from prodkit.core.validate import Arguments


def problems(*calls: tuple[object, ...], **options: object) -> Exception:
    check = Arguments("Thing")
    for method, *arguments in calls:
        getattr(check, str(method))(*arguments, **options)
    with pytest.raises((TypeError, ValueError)) as caught:
        check.done()
    return caught.value


def test_what_holds_raises_nothing() -> None:
    check = Arguments("Thing")
    check.integer("attempts", 3, minimum=1, maximum=3)
    check.integer("limit", None, optional=True)
    check.number("ratio", 0.5, above=0, maximum=1)
    check.number("factor", math.inf, minimum=0, infinite=True)
    check.seconds("timeout", 0.1)
    check.seconds("pause", 0, zero=True)
    check.seconds("wait", None, optional=True)
    check.text("name", "x")
    check.one_of("mode", "a", ("a", "b"))
    check.instance("key", b"x", bytes, "bytes")
    check.function("on", print)
    check.that(True, "never said")
    check.done()


def test_every_problem_is_in_one_error_with_the_value_seen() -> None:
    check = Arguments("Retry")
    check.integer("attempts", 2.5, minimum=1)
    check.seconds("timeout", -1)
    check.that(False, "base 5 must not be above max 2")
    with pytest.raises(ValueError, match=r"^Retry: ") as caught:
        check.done()
    assert str(caught.value) == (
        "Retry: attempts must be an integer of at least 1, got 2.5; "
        "timeout must be a number of seconds above 0, got -1; base 5 must not be above max 2"
    )


@pytest.mark.parametrize("value", [True, "3", 2.5, None, [1]])
def test_a_wrong_type_is_a_type_error(value: object) -> None:
    error = problems(("integer", "attempts", value))
    assert isinstance(error, TypeError)
    assert str(error) == f"Thing: attempts must be an integer, got {value!r}"


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf])
def test_seconds_are_positive_and_finite(value: float) -> None:
    error = problems(("seconds", "timeout", value))
    assert isinstance(error, ValueError)
    assert re.search("seconds above 0, got", str(error))


@pytest.mark.parametrize("value", ["5", True, None, object])
def test_seconds_are_numbers(value: object) -> None:
    assert isinstance(problems(("seconds", "timeout", value)), TypeError)


def test_ranges_are_said_in_words() -> None:
    assert "from 1 to 9, got 10" in str(problems(("integer", "n", 10), minimum=1, maximum=9))
    assert "of at most 9, got 10" in str(problems(("integer", "n", 10), maximum=9))
    assert "a number above 0 and below 1 or None, got 1" in str(
        problems(("number", "ratio", 1), above=0, below=1, optional=True)
    )
    assert "one of 'a', 'b', got 'c'" in str(problems(("one_of", "mode", "c", ("a", "b"))))
    assert "name must not be empty, got ''" in str(problems(("text", "name", "")))
    assert "name must be a string, got 5" in str(problems(("text", "name", 5)))
    assert "on must be callable, got 5" in str(problems(("function", "on", 5)))
    assert "key must be bytes, got 'x'" in str(problems(("instance", "key", "x", bytes, "bytes")))


def test_problems_of_a_part_are_taken_over() -> None:
    def part() -> None:
        raise ValueError("ratio is 2")

    assert "Thing: ratio is 2" in str(problems(("attempt", part)))
