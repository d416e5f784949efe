"""Errors as classes, predicates, collections of both, and groups."""

import pytest

from prodkit.policies.matching import classes_in, matcher


@pytest.mark.parametrize(
    "errors",
    [
        ConnectionError,
        (ConnectionError, KeyError),
        [ConnectionError],
        {ConnectionError},
        lambda error: "refused" in str(error),
        [KeyError, lambda error: "refused" in str(error)],
    ],
)
def test_every_form_matches(errors: object) -> None:
    matches = matcher("on", errors)
    assert matches(ConnectionRefusedError("refused"))
    assert not matches(ValueError("no"))


def test_a_group_matches_when_every_leaf_does() -> None:
    matches = matcher("on", (ConnectionError, TimeoutError))
    inner = ExceptionGroup("inner", [TimeoutError()])
    assert matches(ExceptionGroup("all", [ConnectionError(), inner]))
    assert not matches(ExceptionGroup("one not", [ConnectionError(), ValueError()]))
    assert matcher("on", Exception)(ExceptionGroup("named itself", [ValueError()]))
    assert matcher("on", ExceptionGroup)(ExceptionGroup("named itself", [ValueError()]))


def test_nonsense_is_refused() -> None:
    for wrong in ("ValueError", int, 3, (ValueError, 3), [int]):
        with pytest.raises(TypeError, match="on takes exception classes or a predicate"):
            matcher("on", wrong)


def test_the_named_classes() -> None:
    assert classes_in([KeyError, len]) == (KeyError,)
    assert classes_in(len) == ()
