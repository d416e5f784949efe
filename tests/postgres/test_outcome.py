"""Outcomes of a statement as errors: what may be sent again, and what may not."""

from __future__ import annotations

import pickle

import pytest

from prodkit.errors import DatabaseError
from prodkit.postgres.outcome import CommitUnknownError, NotSentError


@pytest.mark.parametrize("kind", [NotSentError, CommitUnknownError])
def test_both_are_errors_of_the_database_and_survive_a_process_boundary(kind: type[DatabaseError]) -> None:
    error = pickle.loads(pickle.dumps(kind("the connection was lost")))
    assert type(error) is kind
    assert isinstance(error, DatabaseError)
    assert str(error) == "the connection was lost"


def test_one_is_not_the_other() -> None:
    """Code that repeats what was not sent must never catch a COMMIT that may have happened."""
    assert not issubclass(CommitUnknownError, NotSentError)
    assert not issubclass(NotSentError, CommitUnknownError)
