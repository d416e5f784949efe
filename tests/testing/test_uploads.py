"""The conformance set: our own validator meets it in both modes, with the repairs it announces."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from prodkit import files
from prodkit.testing import uploads


def test_every_sample_has_a_name_of_its_own() -> None:
    names = [each.name for each in uploads.samples()]
    assert len(names) == len(set(names)) > 25


@pytest.mark.parametrize("on_damage", ["refuse", "rewrite"])
async def test_the_validator_meets_the_set(on_damage: str) -> None:
    validator = files.Validator(files.ImagePolicy(), on_damage=on_damage)  # type: ignore[arg-type]

    async def check(data: bytes, filename: str, declared: str) -> files.CleanFile:
        return await validator.check(data, filename=filename, declared_type=declared)

    assert await uploads.failures(check, on_damage=on_damage) == []  # type: ignore[arg-type]


async def test_verdicts_codes_repairs_and_frames_are_those_of_the_set() -> None:
    for on_damage in ("refuse", "rewrite"):
        validator = files.Validator(files.ImagePolicy(), on_damage=on_damage)  # type: ignore[arg-type]
        for each in uploads.samples():
            expected = each.refuse if on_damage == "refuse" else each.rewrite
            try:
                clean = await validator.check(
                    each.data, filename=each.filename, declared_type=each.declared_type
                )
            except files.InvalidFileError as error:
                assert [problem.code for problem in error.problems] == [expected], each.name
                continue
            assert not expected, each.name
            assert (clean.width, clean.height, clean.frames) == (*each.size, each.frames), each.name
            if on_damage == "rewrite":
                assert clean.repairs == each.repairs, each.name
                assert all(repair.message.endswith(".") for repair in clean.repairs)
            with Image.open(io.BytesIO(clean.content)) as picture:
                picture.load()


async def test_a_check_that_accepts_everything_and_one_that_accepts_nothing_fail() -> None:
    async def accepts(data: bytes, filename: str, declared: str) -> None: ...

    async def refuses(data: bytes, filename: str, declared: str) -> None:
        raise ValueError("no")

    hostile = await uploads.failures(accepts)
    assert any(each.startswith("zip-behind: accepted, expected trailing_data") for each in hostile)
    assert any(each.startswith("iphone-hdr: refused (no)") for each in await uploads.failures(refuses))


def test_a_folder_is_scored(tmp_path: Path) -> None:
    by_name = {each.name: each for each in uploads.samples()}
    for name in ("iphone-hdr", "bad-crc", "zip-behind"):
        (tmp_path / f"{name}{Path(by_name[name].filename).suffix}").write_bytes(by_name[name].data)
    (tmp_path / "notes.unknown").write_bytes(b"?")
    command = [sys.executable, "-m", "prodkit.testing.uploads", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = {Path(each["path"]).stem: each for each in map(json.loads, done.stdout.splitlines())}
    assert {name: (each["refuse"], each["rewrite"]) for name, each in found.items()} == {
        "iphone-hdr": ("", ""),
        "bad-crc": ("malformed", ""),
        "zip-behind": ("trailing_data", "trailing_data"),
    }
    assert found["bad-crc"]["repairs"] == ["bad_crc"]
    table = subprocess.run(command[:-1], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "rewritten: bad_crc" in table
    assert "picture" in table


def test_a_folder_that_is_missing_is_named() -> None:
    command = [sys.executable, "-m", "prodkit.testing.uploads", "/nowhere/at/all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no such folder: /nowhere/at/all" in done.stderr
