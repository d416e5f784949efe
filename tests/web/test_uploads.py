"""A form is checked while its body arrives."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "files" / "builders"))  # upload_corpus

from upload_corpus.base import bases, payloads

from prodkit import InvalidError, files
from prodkit.web.uploads import RefusedFile, Upload, UploadForm

fastapi = pytest.importorskip("fastapi")
JPEG = bases()["jpeg"][1]
AVATARS = files.Validator(files.ImagePolicy(max_bytes=200_000))
PHOTO = Upload(AVATARS, field="avatar", sanitise=True)
BOUNDARY = b"----x42"


def part(name: str, body: bytes, filename: str | None = None, kind: str = "image/jpeg") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"\r\nContent-Type: {kind}'
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"


class Body:
    """A request whose body is handed over in pieces, and which counts them."""

    def __init__(self, *parts: bytes, piece: int = 1000) -> None:
        self.body = b"".join(parts)
        self.piece = piece
        self.taken = 0

    def request(self, kind: str = f"multipart/form-data; boundary={BOUNDARY.decode()}") -> Any:
        from starlette.requests import Request

        headers = [(b"content-type", kind.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
        return Request(scope, self._receive)

    async def _receive(self) -> dict[str, object]:
        chunk = self.body[self.taken : self.taken + self.piece]
        self.taken += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": self.taken < len(self.body)}


@pytest.mark.parametrize("piece", [1, 7, 1000, 10**6])
async def test_the_file_and_the_fields_around_it_arrive(piece: int) -> None:
    body = Body(
        part("name", "Ána".encode()), part("avatar", JPEG, "eu.jpg"), part("goal", b"more"), END, piece=piece
    )
    form = await PHOTO(body.request())
    assert form.file is not None
    assert (form.file.filename, form.file.width, form.file.sanitised) == ("eu.jpg", 96, True)
    assert form.fields == {"name": "Ána", "goal": "more"}


async def test_reading_stops_at_the_limit() -> None:
    body = Body(part("avatar", b"\xff\xd8\xff" + b"x" * 5_000_000, "eu.jpg"), END, piece=65_536)
    with pytest.raises(files.InvalidFileError) as caught:
        await PHOTO(body.request())
    assert [each.code for each in caught.value.problems] == ["too_large"]
    assert body.taken <= 200_000 + 65_536 + 1000


async def test_a_hostile_file_is_refused() -> None:
    with pytest.raises(files.InvalidFileError):
        await PHOTO(Body(part("avatar", JPEG + payloads()["zip"], "eu.jpg"), END).request())


async def test_a_file_input_left_alone_is_no_file() -> None:
    body = [part("avatar", b"", ""), part("name", b"x"), END]
    with pytest.raises(InvalidError, match="no file"):
        await PHOTO(Body(*body).request())
    form = await Upload(AVATARS, field="avatar", required=False)(Body(*body).request())
    assert form == UploadForm(None, {"name": "x"})


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([part("avatar", JPEG, "a.jpg"), part("avatar", JPEG, "b.jpg"), END], "where none is expected"),
        ([part("other", JPEG, "a.jpg"), END], "where none is expected"),
        ([part("name", b"x" * 70_000), END], "more than 65536 bytes"),
        ([part("name", b"x")] * 60 + [END], "more than 50 fields"),
        ([part("avatar", JPEG, "a.jpg")[:-500]], "ends too soon"),
        ([b"nonsense"], "damaged|too soon"),
        ([b"--" + BOUNDARY + b"\r\nX: y\r\n\r\nz\r\n", END], "without a name"),
    ],
)
async def test_a_damaged_or_surprising_form_is_refused(parts: list[bytes], why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        await PHOTO(Body(*parts).request())


async def test_several_files_are_checked_in_their_order_for_their_owner() -> None:
    stages: list[tuple[str, str]] = []

    keys: list[str] = []

    class Keeping(files.Validator):
        async def check(self, *args: Any, **options: Any) -> files.CleanFile:
            keys.append(options["key"])
            return await super().check(*args, **options)

    validator = Keeping(files.ImagePolicy(max_bytes=200_000))
    album = Upload(
        validator,
        field="photo",
        max_files=2,
        key=lambda request: request.url.path,
        on_progress=lambda request, progress: stages.append((request.method, progress.stage)),
    )
    form = await album(Body(part("photo", JPEG, "a.jpg"), part("photo", JPEG, "b.jpg"), END).request())
    assert [each.filename for each in form.files] == ["a.jpg", "b.jpg"]
    assert form.file is form.files[0]
    assert keys == ["/", "/"]
    assert ("POST", "decoding") in stages
    with pytest.raises(InvalidError, match="more than 2 files"):
        await album(Body(*[part("photo", JPEG, "a.jpg")] * 3, END).request())
    with pytest.raises(ValueError, match=r"max_files.*\n?.*key|key"):
        Upload(validator, max_files=0, key="user")  # type: ignore[arg-type]


BAD = b"<html>" + b"x" * 20_000


def forgiving(**options: Any) -> Upload:
    return Upload(AVATARS, field="avatar", raise_refused=False, **options)


@pytest.mark.parametrize("piece", [100, 10**6])
async def test_a_form_with_a_refused_file_keeps_its_fields(piece: int) -> None:
    parts = [part("name", b"Ana"), part("avatar", BAD, "eu.jpg"), part("goal", b"more"), END]
    form = await forgiving()(Body(*parts, piece=piece).request())
    assert (form.file, form.files, form.fields, form.complete) == (None, (), {"name": "Ana"}, False)
    assert [each.code for each in form.problems] == ["unknown_type"]
    assert form.refused == (RefusedFile(0, form.problems),)
    form = await forgiving(max_rest=100_000)(Body(*parts, piece=piece).request())
    assert (form.fields, form.complete) == ({"name": "Ana", "goal": "more"}, True)
    assert [each.code for each in form.problems] == ["unknown_type"]
    accepted = await forgiving()(Body(part("avatar", JPEG, "eu.jpg"), part("goal", b"x"), END).request())
    assert (accepted.problems, accepted.complete, accepted.fields) == ((), True, {"goal": "x"})


async def test_no_more_than_the_rest_is_read_behind_a_refused_file() -> None:
    parts = [part("name", b"Ana"), part("avatar", BAD + b"x" * 5_000_000, "eu.jpg"), part("goal", b"x"), END]
    body = Body(*parts)
    form = await forgiving(max_rest=50_000)(body.request())
    assert (form.fields, form.complete) == ({"name": "Ana"}, False)
    assert body.taken <= 200_000 + 65_536 + 50_000 + 1000


async def test_the_files_behind_a_refused_one_are_checked() -> None:
    good, bad = part("avatar", JPEG, "a.jpg"), part("avatar", BAD, "b.jpg")
    album = forgiving(max_files=3, max_rest=1_000_000)
    form = await album(Body(bad, good, bad, END).request())
    assert [each.filename for each in form.files] == ["a.jpg"]
    assert form.file is form.files[0]
    assert [each.place for each in form.refused] == [0, 2]
    assert len(form.problems) == 2
    with pytest.raises(InvalidError, match="more than 3 files"):
        await album(Body(bad, good, bad, good, END).request())
    with pytest.raises(InvalidError, match="where none is expected"):
        await forgiving(max_rest=1_000_000)(Body(bad, good, END).request())
    with pytest.raises(InvalidError, match="too soon"):
        await album(Body(bad, good[:-500]).request())


async def test_what_is_no_form_is_refused() -> None:
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary="):
        with pytest.raises(InvalidError, match="not a multipart"):
            await PHOTO(Body(b"{}").request(kind))


async def test_as_a_dependency_of_fastapi() -> None:
    app = fastapi.FastAPI()

    @app.post("/avatar")
    async def avatar(form: Annotated[UploadForm, fastapi.Depends(PHOTO)]) -> dict[str, object]:
        assert form.file is not None
        return {"type": form.file.media_type, "width": form.file.width, "name": form.fields["name"]}

    @app.exception_handler(files.InvalidFileError)
    async def refused(_: object, error: files.InvalidFileError) -> Any:
        return fastapi.responses.JSONResponse([each.code for each in error.problems], status_code=422)

    async def stream() -> AsyncIterator[bytes]:
        yield part("name", b"Ana")
        yield part("avatar", JPEG, "eu.jpg")
        yield END

    transport = httpx.ASGITransport(app)
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/avatar", content=stream(), headers=headers)
        assert answer.json() == {"type": "image/jpeg", "width": 96, "name": "Ana"}
        bad = await client.post("/avatar", files={"avatar": ("a.jpg", b"<html>", "image/jpeg")})
        assert (bad.status_code, bad.json()) == (422, ["unknown_type"])


def test_wrong_options_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="field must not be empty"):
        Upload(AVATARS, field="")
    with pytest.raises(ValueError, match="max_rest needs raise_refused=False"):
        Upload(AVATARS, max_rest=5)
