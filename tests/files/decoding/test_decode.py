"""HEIC end to end, and the budget of a picture."""

import io

import pytest
from PIL import Image
from upload_corpus.base import drawing, encoded

from prodkit import files
from prodkit.files.budget import DecodeBudget

pillow_heif = pytest.importorskip("pillow_heif")
HEIC = frozenset(("heic", "jpeg"))


def heic(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(picture).save(out)
    return out.getvalue()


async def test_a_heic_is_accepted_and_re_encoded_as_what_every_program_shows() -> None:
    validator = files.Validator(files.ImagePolicy(formats=HEIC))
    data = heic(drawing(64, 48))
    kept = await validator.check(data, filename="IMG_1.HEIC", declared_type="image/heic")
    assert (kept.media_type, kept.content, kept.width, kept.height) == ("image/heic", data, 64, 48)
    clean = await validator.check(data, filename="IMG_1.HEIC", declared_type="image/heic", sanitise=True)
    assert (clean.media_type, clean.extension, clean.filename) == ("image/jpeg", "jpg", "IMG_1.HEIC.jpg")
    assert (clean.width, clean.height) == (64, 48)
    seen = await validator.check(
        heic(drawing(64, 48, "RGBA")), filename=None, declared_type=None, sanitise=True
    )
    assert seen.media_type == "image/png"


async def test_a_heic_that_is_cut_or_empty_is_refused() -> None:
    validator = files.Validator(files.ImagePolicy(formats=HEIC))
    data = heic(drawing(64, 48))
    for broken in (data[: len(data) // 2], data[:200]):
        with pytest.raises(files.InvalidFileError):
            await validator.check(broken, filename=None, declared_type=None, sanitise=True)


def test_seconds_and_memory_follow_from_pixels() -> None:
    avatar = files.ImagePolicy().budget
    assert avatar.memory_bytes == 768 * 2**20
    scan = files.ImagePolicy(max_width=12_000, max_height=12_000).budget
    assert scan.pixels == 144_000_000
    assert scan.seconds > avatar.seconds
    assert scan.memory_bytes > 3 * 2**30
    small = DecodeBudget.of(100, 100, 10_000)
    assert (small.seconds, small.rewrite_seconds) == (3.0, 3.0)


def test_a_sandbox_that_cannot_hold_the_policy_is_refused_with_both_numbers() -> None:
    small = files.Sandbox(memory_bytes=768 * 2**20)
    files.Validator(files.ImagePolicy(), sandbox=small)
    with pytest.raises(ValueError, match=r"memory_bytes=805306368.*12000x12000.*needs \d{10}"):
        files.Validator(files.ImagePolicy(max_width=12_000, max_height=12_000), sandbox=small)


async def test_a_large_picture_gets_a_larger_worker() -> None:
    sandbox = files.Sandbox(workers=1)
    policy = files.ImagePolicy(max_bytes=50 * 2**20, max_width=9_000, max_height=9_000)
    async with files.Validator(policy, sandbox=sandbox) as validator, sandbox:
        flat = encoded("PNG", Image.new("RGBA", (8_000, 8_000)))
        clean = await validator.check(flat, filename=None, declared_type=None, sanitise=True)
        assert (clean.width, clean.height) == (8_000, 8_000)
