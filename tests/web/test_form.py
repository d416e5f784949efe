"""One field out of a body that is read again: what is read, how much of it, and what is passed on."""

import pytest
from starlette.types import Message

from prodkit.web.form import ReadBody, field_of

PART = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'


class Body:
    """A body in chunks, and how many of them were taken."""

    def __init__(self, *chunks: bytes) -> None:
        self.messages: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks) - 1}
            for n, chunk in enumerate(chunks)
        ]
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self.messages):
            return {"type": "http.disconnect"}
        self.taken += 1
        return self.messages[self.taken - 1]


async def find(body: Body, kind: str, limit: int = 1000) -> tuple[str | None, bytes]:
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
    found, again = await field_of(scope, body.receive, "csrf_token", limit)
    passed = b""
    while (message := await again())["type"] == "http.request":
        passed += message["body"]
    if isinstance(again, ReadBody):
        again.close()
    return found, passed


URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


async def test_an_urlencoded_field_over_many_chunks() -> None:
    raw = b"a=1&csrf_token=a%2Bb+c&csrf_token=second"
    assert await find(Body(*(raw[n : n + 3] for n in range(0, len(raw), 3))), URLENCODED) == ("a+b c", raw)
    assert await find(Body(raw), URLENCODED + "; charset=utf-8") == ("a+b c", raw)
    assert await find(Body(raw), URLENCODED.upper()) == ("a+b c", raw)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_multipart_field_is_found_before_the_file_is_read(size: int) -> None:
    raw = (
        PART % (b"csrf_token", b"", b"token")
        + PART % (b"photo", b'; filename="x"', b"y" * 5000)
        + b"--b--\r\n"
    )
    body = Body(*(raw[n : n + size] for n in range(0, len(raw), size)))
    scope = {"type": "http", "headers": [(b"content-type", MULTIPART.encode())]}
    found, _ = await field_of(scope, body.receive, "csrf_token", 1000)
    assert found == "token"
    assert body.taken * size < 1100
    body.taken = 0
    assert await find(body, MULTIPART) == ("token", raw)


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART])
async def test_nothing_is_read_beyond_the_limit(kind: str) -> None:
    body = Body(*[b"x" * 100] * 10_000)
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
    found, again = await field_of(scope, body.receive, "csrf_token", 1000)
    assert found is None
    assert body.taken <= 11
    assert (await again())["body"] == b"x" * 100  # the app still gets the beginning


async def test_a_file_is_no_field() -> None:
    raw = PART % (b"csrf_token", b'; filename="x"', b"token") + b"--b--\r\n"
    assert await find(Body(raw), MULTIPART) == (None, raw)


@pytest.mark.parametrize(
    "kind", ["application/xml", "text/plain", "", "multipart/form-data", "multipart/mixed; boundary=b"]
)
async def test_what_is_no_form_is_not_read(kind: str) -> None:
    body = Body(b"csrf_token=x")
    scope = {"type": "http", "headers": [(b"content-type", kind.encode())]}
    assert (await field_of(scope, body.receive, "csrf_token", 1000))[0] is None
    assert body.taken == 0


async def test_a_client_that_leaves_in_the_middle() -> None:
    body = Body(b"csrf_", b"token=x")
    body.messages[1] = {"type": "http.disconnect"}
    assert (await find(body, URLENCODED))[0] is None


async def test_a_member_of_a_json_object() -> None:
    raw = b'{"csrf_token": "t\\u00e9", "a": [1]}'
    assert await find(Body(raw[:9], raw[9:]), "application/json; charset=utf-8") == ("té", raw)
    assert await find(Body(raw), "application/merge-patch+json") == ("té", raw)
    for odd in (b"[1]", b"{", b'{"csrf_token": 7}', b"", b'{"a":' * 100_000, b"\xff"):
        found, passed = await find(Body(odd), "application/json", 10_000_000)
        assert (found, passed) == (None, odd)


async def test_a_field_behind_a_large_file_is_found_and_the_body_passed_on_whole() -> None:
    raw = (
        PART % (b"photo", b'; filename="x"', b"y" * 5_000_000)
        + PART % (b"csrf_token", b"", b"token")
        + b"--b--\r\n"
    )
    chunks = [raw[n : n + 65_536] for n in range(0, len(raw), 65_536)]
    assert await find(Body(*chunks), MULTIPART, 64 * 2**20) == ("token", raw)
    assert (await find(Body(*chunks, b"more"), MULTIPART, 64 * 2**20))[1] == raw + b"more"
    assert (await find(Body(*chunks), MULTIPART, 3_000_000))[0] is None
