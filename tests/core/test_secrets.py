from __future__ import annotations

import base64
import html
import json
import pickle
import random
import string
import threading
from urllib.parse import quote, quote_plus

import pytest

from prodkit.core.secrets import MASK, Revealable, Secret, SecretRegistry, reveal

VALUE = "Zq8/+vT:p@ss é\"k'<w>&7"


def registry(*values: str) -> SecretRegistry:
    made = SecretRegistry()
    made.add(*values)
    return made


@pytest.mark.parametrize(
    "spelling",
    [
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        quote(VALUE, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3A", "%3a")
        .replace("%C3%A9", "%c3%a9").replace("%3C", "%3c").replace("%3E", "%3e"),
        quote(quote(VALUE, safe=""), safe=""),
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        json.dumps(VALUE)[1:-1].replace("\\u00e9", "\\u00E9"),
        repr(VALUE)[1:-1],
        html.escape(VALUE),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
    ],
)  # fmt: skip
def test_every_spelling_is_replaced(spelling: str) -> None:
    assert registry(VALUE).replace(f"before {spelling} after") == f"before {MASK} after"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_any_offset(before: str, encode: object) -> None:
    value = "kq2vS1nGdJ0m4T8yRwZcLxHb"
    text: str = encode(f"{before}{value} and more".encode()).decode()  # type: ignore[operator]
    shown = registry(value).replace(f"Basic {text}")
    assert MASK in shown
    left = shown.removeprefix("Basic ").replace(MASK, "")
    left = left.rstrip("=").replace("+", "-").replace("/", "_")
    raw = base64.urlsafe_b64decode(left[: len(left) // 4 * 4])
    assert value[4:8].encode() not in raw


def test_the_place_in_the_text_does_not_matter() -> None:
    rng = random.Random(7)
    alphabet = string.ascii_letters + string.digits
    values = ["".join(rng.choices(alphabet, k=rng.randrange(6, 60))) for _ in range(40)]
    found = registry(*values)
    for value in values:
        for at in range(40):
            text = f"{'.' * at}{value}{'.' * rng.randrange(40)}"
            assert value not in found.replace(text)
            assert found.replace(text).startswith("." * at + MASK)


def test_ordinary_words_are_not_blanked_out() -> None:
    found = registry("postgres", "shopper", "abc", "password", "123456")
    assert len(found) == 1
    text = "postgresql pool of postgres for shoppers and window-shopper-s, abc"
    assert found.replace(text) == "postgresql pool of postgres for shoppers and window-***-s, abc"


def test_forget_and_rotate() -> None:
    found = registry("old-value-1234")
    calls: list[int] = []
    found.on_change(lambda: calls.append(1))
    found.rotate("old-value-1234", Secret("new-value-5678"))
    assert found.replace("old-value-1234 new-value-5678") == "*** ***"
    found.forget(Secret("old-value-1234"))
    assert found.replace("old-value-1234 new-value-5678") == "old-value-1234 ***"
    assert "new-value-5678" in found
    assert "new-value" not in repr(found)
    assert len(calls) == 2
    found.clear()
    assert found.replace("new-value-5678") == "new-value-5678"


def test_threads_may_add_while_others_replace() -> None:
    found = SecretRegistry()
    values = [f"value-number-{number:04}" for number in range(300)]
    parts = values[::3], values[1::3], values[2::3]
    threads = [threading.Thread(target=found.add, args=part) for part in parts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found.replace(" ".join(values[:20]))
    assert len(found) == 300
    assert all(found.replace(each) == MASK for each in values)


def test_a_secret_hides_itself() -> None:
    secret = Secret("hunter2")
    assert (str(secret), repr(secret), f"{secret:>5}", len(secret)) == ("***", "Secret('***')", "  ***", 7)
    assert secret == Secret("hunter2")
    assert secret != "hunter2"
    assert hash(secret) == hash(Secret("hunter2"))
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="takes a str, got int"):
        Secret(7)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        secret._value = "x"


def test_a_secret_is_text_or_shows_it_when_asked() -> None:
    class Hidden:
        def reveal(self) -> str:
            return "made up"

    assert reveal("plain") == "plain"
    assert reveal(Hidden()) == "made up"
    assert isinstance(Hidden(), Revealable)
