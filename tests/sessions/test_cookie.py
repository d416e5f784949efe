from __future__ import annotations

import random

import pytest

from prodkit.sessions import Keys, SessionCookie
from prodkit.sessions.cookie import cookie_values, new_id

OLD = "the-old-made-up-secret-0123456789abcdef"
NEW = "the-new-made-up-secret-0123456789abcdef"


def cookie(*secrets: str, secure: bool = True) -> SessionCookie:
    return SessionCookie(Keys(secrets, purpose="session"), secure=secure)


def header(text: str) -> list[bytes]:
    return [text.split(";")[0].encode()]


def test_in_production_it_is_host_only_and_secure() -> None:
    text = cookie(NEW).write(new_id(), max_age=3600)
    assert text.startswith("__Host-session=")
    assert set(text.split("; ")[1:]) == {"Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax", "Secure"}


def test_on_plain_http_it_has_a_plain_name() -> None:
    text = cookie(NEW, secure=False).write(new_id(), max_age=3600)
    assert text.startswith("session=")
    assert "Secure" not in text


def test_a_replaced_secret_still_verifies() -> None:
    session_id = new_id()
    sent = header(cookie(OLD).write(session_id, max_age=1))
    assert cookie(NEW, OLD).read(sent) == session_id
    assert cookie(NEW).read(sent) is None


def test_another_purpose_is_another_key() -> None:
    session_id = new_id()
    sent = header(SessionCookie(Keys(NEW, purpose="csrf")).write(session_id, max_age=1))
    assert cookie(NEW).read(sent) is None


def test_a_planted_cookie_beside_the_real_one_does_not_hide_it() -> None:
    session_id = new_id()
    real = cookie(NEW).write(session_id, max_age=1).split(";")[0]
    assert cookie(NEW).read([f"__Host-session=planted; {real}".encode()]) == session_id


def test_nothing_odd_raises() -> None:
    dice = random.Random(20)
    reader = cookie(NEW)
    good = header(reader.write(new_id(), max_age=1))[0]
    for _ in range(2000):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            raw[dice.randrange(16, len(raw))] = dice.randrange(256)
        assert reader.read([bytes(raw)]) is None or bytes(raw) == good
        reader.read([dice.randbytes(dice.randint(0, 80))])


def test_a_signature_has_one_spelling() -> None:
    # base64 of 16 bytes leaves 4 unused bits in its last character
    session_id = new_id()
    sent = header(cookie(NEW).write(session_id, max_age=1))[0]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    read = [cookie(NEW).read([sent[:-1] + letter.encode()]) for letter in alphabet]
    assert sorted(map(str, read)) == sorted([session_id, *["None"] * 63])


def test_cookie_values_are_found_by_their_whole_name() -> None:
    assert cookie_values(b"a=1; session=2;xsession=3; session=4; session", "session") == ["2", "4"]


@pytest.mark.parametrize("secret", ["", "short", " " * 40, "a" * 31])
def test_a_short_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="32 are needed") as caught:
        Keys(secret, purpose="session")
    if secret.strip():
        assert secret not in str(caught.value)
    with pytest.raises(ValueError, match="at least one"):
        Keys([], purpose="session")


def test_a_name_is_checked() -> None:
    with pytest.raises(ValueError, match="a cookie name"):
        SessionCookie(Keys(NEW, purpose="session"), name="a;b")
