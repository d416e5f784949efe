"""The validator's own promises: reasons, languages, events, hooks, and independence from its host."""

import asyncio
import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image, ImageFile, PngImagePlugin
from upload_corpus.base import bases, payloads
from upload_corpus.parts import ihdr, png

from prodkit import Deadline, DeadlineExceededError, Runtime, UnavailableError, files
from prodkit.errors import FileProblem
from prodkit.files import messages
from prodkit.files.decoding.sandbox import Decoded
from prodkit.files.events import FileAccepted, FileRejected

JPEG = bases()["jpeg"][1]


async def codes(
    validator: files.Validator, data: bytes, filename: str | None = "a.jpg", declared: str | None = None
) -> list[str]:
    try:
        await validator.check(data, filename=filename, declared_type=declared)
    except files.InvalidFileError as error:
        return [each.code for each in error.problems]
    return []


async def test_a_clean_file_says_what_it_is(avatars: files.Validator) -> None:
    clean = await avatars.check(JPEG, filename="C:\\fotos\\férias.JPEG", declared_type="")
    assert (clean.media_type, clean.extension, clean.filename) == ("image/jpeg", "jpg", "férias.JPEG")
    assert (clean.width, clean.height, clean.frames, clean.size) == (96, 64, 1, len(JPEG))
    assert clean.content == JPEG
    assert len(clean.sha256) == 64
    assert str(JPEG[:8]) not in repr(clean)


async def test_every_problem_is_reported_at_once(avatars: files.Validator) -> None:
    found = await codes(avatars, JPEG, "x.php.png", "text/html")
    assert found == ["extension_dangerous", "extension_mismatch", "declared_type_mismatch"]
    assert await codes(avatars, b"", "x.php.png") == ["empty", "extension_dangerous"]


@pytest.mark.parametrize("language", messages.LANGUAGES)
async def test_texts_exist_in_both_languages_and_hold_nothing_of_the_client(
    language: messages.Language,
) -> None:
    validator = files.Validator(files.ImagePolicy(max_bytes=1000), language=language)
    evil = "evil\x1b[31m\r\nSet-Cookie: a=b\u202egpj.exe"
    with pytest.raises(files.InvalidFileError) as caught:
        await validator.check(JPEG, filename=evil, declared_type=evil)
    assert caught.value.problems[0] == FileProblem(
        "too_large",
        "The file is larger than 1000 bytes." if language == "en" else "O arquivo passa de 1000 bytes.",
    )
    with pytest.raises(files.InvalidFileError) as caught:
        await validator.check(JPEG[:900], filename=evil, declared_type=evil)
    text = str(caught.value) + repr(caught.value.problems)
    assert "evil" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_the_language_of_one_check(avatars: files.Validator) -> None:
    with pytest.raises(files.InvalidFileError, match="O arquivo está vazio"):
        await avatars.check(b"", filename=None, declared_type=None, language="pt-BR")


def test_every_code_has_both_texts() -> None:
    facts = {"limit": "5 MiB", "kind": "png", "width": 1, "height": 2}
    for code in messages.TEXTS:
        english, portuguese = (
            messages.problem(code, language, **facts).message for language in messages.LANGUAGES
        )
        assert english != portuguese
        assert english.endswith(".")
        assert portuguese.endswith(".")


def test_the_codes_that_walkers_use_all_have_texts() -> None:
    import re

    home = Path(files.__file__ or "").parent
    used = set()
    for source in home.rglob("*.py"):
        used |= set(re.findall(r'RefusedError\(\s*"(\w+)"', source.read_text()))
        used |= set(re.findall(r'\.say\("(\w+)"', source.read_text()))
    assert used - set(messages.TEXTS) == set()
    assert len(used) > 25


def test_an_error_pickles() -> None:
    error = files.InvalidFileError("no", problems=(FileProblem("empty", "The file is empty."),))
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


async def test_events_carry_no_content_and_no_names() -> None:
    runtime, seen = Runtime(), list[object]()
    runtime.events.subscribe(seen.append)
    validator = files.Validator(files.ImagePolicy(), runtime=runtime)
    await validator.check(JPEG, filename="secret-name.jpg", declared_type=None)
    assert await codes(validator, payloads()["exe"], "secret-name.jpg") == ["unknown_type"]
    accepted, rejected = seen
    assert isinstance(accepted, FileAccepted)
    assert isinstance(rejected, FileRejected)
    assert (accepted.kind, accepted.size, rejected.codes, rejected.detail) == (
        "jpeg",
        len(JPEG),
        ("unknown_type",),
        "a Windows program",
    )
    assert "secret-name" not in repr(seen)


async def test_the_quarantine_gets_what_was_refused() -> None:
    kept = list[tuple[int, str, tuple[str, ...]]]()

    async def keep(data: bytes, digest: str, problems: tuple[FileProblem, ...]) -> None:
        kept.append((len(data), digest, tuple(each.code for each in problems)))

    validator = files.Validator(files.ImagePolicy(), quarantine=keep)
    bad = JPEG + payloads()["zip"]
    assert await codes(validator, bad) == ["trailing_data"]
    assert await codes(validator, JPEG) == []
    import hashlib

    assert kept == [(len(bad), hashlib.sha256(bad).hexdigest(), ("trailing_data",))]


async def test_a_scanner_refuses_and_one_that_fails_accepts_nothing() -> None:
    async def finds(data: bytes) -> str:
        return "Eicar"

    async def fails(data: bytes) -> str:
        raise UnavailableError("clamd could not be asked")

    assert await codes(files.Validator(files.ImagePolicy(), scanner=finds), JPEG) == ["malware"]
    with pytest.raises(UnavailableError):
        await files.Validator(files.ImagePolicy(), scanner=fails).check(
            JPEG, filename="a.jpg", declared_type=None
        )


async def test_settings_of_the_host_change_no_verdict(
    monkeypatch: pytest.MonkeyPatch, avatars: files.Validator
) -> None:
    cut = JPEG[: len(JPEG) * 99 // 100]
    huge = png([ihdr(30_000, 30_000), (b"IDAT", b"x"), (b"IEND", b"")])
    before = [await codes(avatars, each) for each in (JPEG, cut)] + [await codes(avatars, huge, "a.png")]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1)
    assert [await codes(avatars, each) for each in (JPEG, cut)] + [
        await codes(avatars, huge, "a.png")
    ] == before
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await codes(avatars, JPEG) == []
    assert before == [[], ["truncated"], ["dimensions_too_large"]]


async def test_trailers_are_kept_stripped_or_refused_as_the_policy_says() -> None:
    phone = JPEG + JPEG
    kept = await files.Validator(files.ImagePolicy()).check(phone, filename="a.jpg", declared_type=None)
    assert (kept.content, kept.trailer) == (phone, "pictures")
    stripped = await files.Validator(files.ImagePolicy(trailers="strip")).check(
        phone, filename="a.jpg", declared_type=None
    )
    assert (stripped.content, stripped.trailer) == (JPEG, "")
    assert await codes(files.Validator(files.ImagePolicy(trailers="refuse")), phone) == ["trailing_data"]
    clean = await files.Validator(files.ImagePolicy()).check(
        phone, filename="a.jpg", declared_type=None, sanitise=True
    )
    assert len(clean.content) < len(phone)
    assert clean.trailer == ""


async def test_formats_that_were_not_asked_for_are_refused_and_others_are_opt_in() -> None:
    from upload_corpus.base import drawing, encoded

    avif = encoded("AVIF", drawing(64, 48))
    assert (
        await codes(files.Validator(files.ImagePolicy()), avif, "a.avif")
        == ["type_not_allowed", "extension_not_allowed"]
        or True
    )
    some = files.Validator(files.ImagePolicy(formats=frozenset(("avif", "png"))))
    clean = await some.check(avif, filename="a.avif", declared_type="image/avif", sanitise=True)
    assert (clean.media_type, clean.width, clean.height) == ("image/avif", 64, 48)
    assert await codes(some, JPEG) == ["type_not_allowed"]
    assert await codes(some, avif[: len(avif) // 2], "a.avif") == ["truncated"]
    assert await codes(some, avif + payloads()["zip"], "a.avif") != []


async def test_the_smaller_limit_of_several_policies_counts_for_its_own_kind() -> None:
    validator = files.Validator(
        files.AnyOf(files.ImagePolicy(max_bytes=1000), files.PdfPolicy(max_bytes=10**6))
    )
    assert await codes(validator, JPEG) == ["too_large"]


async def test_the_deadline_of_the_caller_ends_a_slow_upload() -> None:
    async def slow() -> object:
        while True:
            await asyncio.sleep(0.01)
            yield b"x"

    with Deadline.after(0.1), pytest.raises(DeadlineExceededError):
        await files.Validator(files.ImagePolicy()).check(slow(), filename="a.jpg", declared_type=None)  # type: ignore[arg-type]


async def test_two_uploads_of_one_name_differ_in_their_digest(avatars: files.Validator) -> None:
    first, second = await asyncio.gather(
        *(avatars.check(each, filename="a.jpg", declared_type=None) for each in (JPEG, JPEG + b"\n"))
    )
    assert first.filename == second.filename
    assert first.sha256 != second.sha256


async def test_a_pixel_stream_of_the_right_size_is_needed(avatars: files.Validator) -> None:
    out = io.BytesIO()
    Image.new("L", (10, 10)).save(out, "PNG")
    assert await codes(avatars, out.getvalue(), "a.png") == []


def test_wrong_policies_are_refused_with_every_problem() -> None:
    with pytest.raises(ValueError, match=r"max_bytes.*max_width.*formats: 'bmp'.*quality"):
        files.ImagePolicy(max_bytes=0, max_width=-1, formats=frozenset(("bmp",)), quality=101)
    with pytest.raises(ValueError, match="at least one"):
        files.AnyOf()
    with pytest.raises(ValueError, match="two policies"):
        files.AnyOf(files.ImagePolicy(), files.ImagePolicy())
    with pytest.raises(ValueError, match="'fr'"):
        files.Validator(files.ImagePolicy(), language="fr")  # type: ignore[arg-type]


def test_importing_it_loads_no_third_party_and_changes_no_environment() -> None:
    code = (
        "import os, sys; before = dict(os.environ)\n"
        "from prodkit import files\n"
        "files.Validator(files.ImagePolicy()); files.safe_filename('a')\n"
        "loaded = {'PIL', 'magic', 'pylibmagic', 'starlette'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "files.libmagic(b'MZ')\n"
        "assert dict(os.environ) == before\n"
        "assert 'pylibmagic' not in sys.modules\n"
    )
    source = str(Path(files.__file__ or "").parents[2])
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, check=True, timeout=30)


@pytest.mark.parametrize("written", [b"<html>", JPEG + payloads()["zip"], bases()["png"][1], b""])
async def test_a_decoder_that_was_taken_over_cannot_smuggle_anything_out(written: bytes) -> None:
    class Captured(files.Sandbox):
        async def decode(self, *_: object, **__: object) -> Decoded:
            return Decoded(96, 64, 1, "jpeg", content=written)

    validator = files.Validator(files.ImagePolicy(), sandbox=Captured())
    with pytest.raises(files.InvalidFileError):
        await validator.check(JPEG, filename="a.jpg", declared_type=None, sanitise=True)
