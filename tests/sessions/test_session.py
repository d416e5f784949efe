"""The session as a request sees it: a dict that knows its changes, and the fate of its id."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.errors import InvalidSessionError
from prodkit.sessions import Session, StepUpRequiredError
from prodkit.sessions.session import canonical, digest


def test_a_digest_is_a_sha256() -> None:
    assert digest("a") == digest("a") != digest("b")
    assert len(digest("")) == 32


def test_equal_values_have_equal_texts() -> None:
    assert canonical("k", {"b": 1, "a": "é"}) == canonical("k", {"a": "é", "b": 1}) == '{"a":"é","b":1}'


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), "\ud800", {"deep": [b"x"]}])
def test_a_value_that_is_no_json_is_named(value: Any) -> None:
    session = Session("id")
    session["basket"] = value
    with pytest.raises((TypeError, ValueError), match=r"session\['basket'\]"):
        session.changes()


def test_a_key_is_a_string() -> None:
    with pytest.raises(TypeError, match="7"):
        Session()[7] = "x"  # type: ignore[index]
    nested = Session("id", data={7: "x"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="7"):
        len(nested)


def test_changes_name_what_was_added_changed_and_removed_only() -> None:
    session = Session("id", data={"a": 1, "b": [1], "c": "x", "d": 0})
    session["a"] = 2
    session["b"].append(2)  # inside a value
    session["d"] = 0  # the same value again
    session["e"] = None
    del session["c"]
    changed, removed, size = session.changes()
    assert changed == {"a": "2", "b": "[1,2]", "e": "null"}
    assert removed == ["c"]
    assert size == len("a2b[1,2]d0enull")
    session.settled()
    assert session.changes() == ({}, [], 0)


def test_a_session_that_was_not_read_has_no_changes_and_does_not_vary() -> None:
    session = Session("id", user_id="7", data={"a": 1})
    assert session.owner == "7"
    assert bool(session)
    assert session.changes() == ({}, [], 0)
    assert not session.accessed
    assert session.user_id == "7"
    assert session.accessed


def test_a_login_changes_the_id_and_keeps_the_data() -> None:
    session = Session("old", data={"basket": 1}, age=500.0)
    session.login("7")
    assert (session.user_id, session.previous, session.rotation, session.age) == ("7", "old", "login", 0.0)
    assert session.id not in (None, "old")
    assert session["basket"] == 1
    assert not session.is_new
    first = session.id
    session.rotate()
    assert (session.previous, session.rotation) == ("old", "login")  # still one move for the store
    assert session.id != first


def test_another_users_login_ends_the_session_before() -> None:
    session = Session("old", user_id="7", data={"basket": 1})
    session.login("8")
    assert session.ended == ("old",)
    assert dict(session) == {}
    assert session.is_new
    session.forget_ended()
    assert session.ended == ()


@pytest.mark.parametrize("user", ["", None, 7])
def test_a_user_is_a_text(user: Any) -> None:
    with pytest.raises(ValueError, match="user's id"):
        Session().login(user)


def test_a_logout_ends_the_stored_id_also_after_a_rotation() -> None:
    session = Session("old", user_id="7", data={"a": 1}, left=100.0)
    session.rotate()
    session.logout()
    assert session.ended == ("old",)  # the new id was never stored
    assert (session.id, session.owner, session.left, dict(session)) == (None, None, 0.0, {})
    session.logout()
    assert session.ended == ("old",)
    session["message"] = "bye"
    assert session.changes()[0] == {"message": '"bye"'}
    assert session.is_new


def test_a_visitor_without_an_id_has_nothing_to_rotate_or_end() -> None:
    session = Session()
    session.rotate()
    session.logout()
    assert (session.id, session.rotation, session.ended) == (None, None, ())


def test_a_recent_login_can_be_required() -> None:
    session = Session("id", user_id="7", age=300.0)
    session.require_recent_login()
    assert not session.signed_in_within(299)
    with pytest.raises(StepUpRequiredError, match="299 s") as caught:
        session.require_recent_login(299)
    assert isinstance(caught.value, InvalidSessionError)
    with pytest.raises(StepUpRequiredError):
        Session("id").require_recent_login()


def test_its_repr_shows_no_id_and_no_value() -> None:
    text = repr(Session("the-id", user_id="ana@example.com", data={"token": "secret"}))
    assert text == "Session(signed in, 1 keys)"
