"""The own corpus: every kind of hostile file is refused, every honest one passes, and nothing survives sanitising."""

import asyncio
import io
from collections.abc import Iterable

import pytest
import upload_corpus
from PIL import Image, ImageOps
from upload_corpus import MARKER, Sample
from upload_corpus.documents import documents, hostile_documents

from prodkit import files

pytestmark = pytest.mark.slow

ANYTHING = files.AnyOf(files.ImagePolicy(), files.PdfPolicy(), files.TextPolicy(), files.OfficePolicy())


async def accepted(validator: files.Validator, samples: Iterable[Sample]) -> dict[str, list[str]]:
    """The codes by sample; an empty list is a file that passed. No sample may take two seconds."""
    verdicts = dict[str, list[str]]()
    for each in samples:
        assert each.name not in verdicts, f"two samples are named {each.name}"
        try:
            async with asyncio.timeout(2):
                await validator.check(each.data, filename=each.filename, declared_type=each.declared)
            verdicts[each.name] = []
        except files.InvalidFileError as error:
            verdicts[each.name] = [problem.code for problem in error.problems]
    return verdicts


async def test_hostile_files_are_refused(avatars: files.Validator) -> None:
    verdicts = await accepted(avatars, upload_corpus.hostile())
    assert [name for name, codes in verdicts.items() if not codes] == []
    assert len(verdicts) > 1_500


async def test_contradictions_between_name_type_and_content_are_refused(avatars: files.Validator) -> None:
    verdicts = await accepted(avatars, upload_corpus.strict())
    assert [name for name, codes in verdicts.items() if not codes] == []


async def test_honest_files_pass(avatars: files.Validator) -> None:
    verdicts = await accepted(avatars, upload_corpus.honest())
    assert {name: codes for name, codes in verdicts.items() if codes} == {}
    assert len(verdicts) > 180


async def test_documents() -> None:
    validator = files.Validator(ANYTHING)
    assert {name: codes for name, codes in (await accepted(validator, documents())).items() if codes} == {}
    verdicts = await accepted(validator, hostile_documents())
    assert [name for name, codes in verdicts.items() if not codes] == []


async def test_no_marker_survives_sanitising(avatars: files.Validator) -> None:
    """Whatever can be hidden in a picture that decodes is gone from what is encoded again."""
    sanitised = 0
    for each in upload_corpus.carriers():
        try:
            clean = await avatars.check(
                each.data, filename=each.filename, declared_type=each.declared, sanitise=True
            )
        except files.InvalidFileError:
            continue
        sanitised += 1
        assert clean.sanitised
        assert MARKER not in clean.content, each.name
        assert MARKER[:8] not in clean.content, each.name
        again = await avatars.check(clean.content, filename=clean.filename, declared_type=clean.media_type)
        assert (again.width, again.height, again.frames) == (clean.width, clean.height, clean.frames)
    assert sanitised > 100


async def test_sanitising_keeps_what_the_picture_shows(avatars: files.Validator) -> None:
    for each in upload_corpus.honest():
        clean = await avatars.check(
            each.data, filename=each.filename, declared_type=each.declared, sanitise=True
        )
        with Image.open(io.BytesIO(each.data)) as before, Image.open(io.BytesIO(clean.content)) as after:
            if each.frames is not None:
                assert (clean.frames, getattr(after, "n_frames", 1)) == (each.frames, each.frames), each.name
            assert not after.getexif(), each.name
            assert not {"comment", "icc_profile", "xmp", "photoshop", "exif"} & set(after.info), each.name
            turned = before.getexif().get(0x0112, 1) >= 5
            assert after.size == (before.size[::-1] if turned else before.size), each.name
            assert difference(upright(before), after) < 40, each.name


def upright(picture: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(picture) or picture


def difference(first: Image.Image, second: Image.Image) -> int:
    """The largest difference of colour between two pictures, after scaling both down."""

    def small(picture: Image.Image) -> bytes:
        return picture.convert("RGBA").convert("RGBa").resize((8, 8), Image.Resampling.BOX).tobytes()

    return max(abs(a - b) for a, b in zip(small(first), small(second), strict=True))


@pytest.mark.parametrize(("kind", "extension"), [("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")])
async def test_durations_and_frames_are_kept(avatars: files.Validator, kind: str, extension: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = upload_corpus.base.animated(kind, 5, **options)
    clean = await avatars.check(data, filename=f"a.{extension}", declared_type=None, sanitise=True)
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(clean.content)) as after:
        for index in range(5):
            before.seek(index)
            after.seek(index)
            before.load()
            after.load()
            assert after.info["duration"] == before.info["duration"]
            assert difference(before, after) < 40, (kind, index)
        assert after.info.get("loop") == before.info.get("loop") == 0


async def test_a_portrait_stays_a_portrait(avatars: files.Validator) -> None:
    """EXIF orientation 6: stored lying, shown upright; the red half has to end at the top."""
    lying = Image.new("RGB", (80, 40), "blue")
    lying.paste("red", (0, 0, 40, 40))
    tags = Image.Exif()
    tags[0x0112] = 6
    out = io.BytesIO()
    lying.save(out, "JPEG", exif=tags, quality=95)
    clean = await avatars.check(out.getvalue(), filename="a.jpg", declared_type=None, sanitise=True)
    assert (clean.width, clean.height) == (40, 80)
    with Image.open(io.BytesIO(clean.content)) as upright:
        assert upright.getpixel((20, 5))[0] > 200  # type: ignore[index]
        assert upright.getpixel((20, 75))[2] > 200  # type: ignore[index]
