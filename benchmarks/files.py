"""Costs and catches of the file validator, beside one Pillow decode and the usual recipe.

Costs are multiples of one ``Image.open(...).load()`` of the same 1 MB JPEG, taken in turn with it: CPU time in this
process, wall time where a worker decodes (compare it on a machine that is otherwise idle). The peer is the recipe of
most tutorials: libmagic on the head, the extension, ``Image.verify``, the size. ``--only cost`` leaves the rest out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/files/builders"))

import upload_corpus
from PIL import Image
from upload_corpus import MARKER
from upload_corpus.base import drawing, encoded
from upload_corpus.broken import bombs

from benchmarks.harness import Table, ratios, run
from prodkit import files
from prodkit.files.decoding import decode as decoding
from prodkit.files.formats.base import RefusedError
from prodkit.files.structure import inspect

POLICY = files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048)
PARTS = ("cost", "catch", "load")


def photo() -> bytes:
    """A JPEG of about 1 MB, 1440x1440, as full of detail as a photograph."""
    noise = [Image.effect_noise((1440, 1440), spread) for spread in (60, 50)]
    picture = Image.merge("RGB", (noise[0], drawing(1440, 1440).getchannel(1), noise[1]))
    return next(
        data
        for quality in range(95, 20, -3)
        if len(data := encoded("JPEG", picture, quality=quality)) < 1_050_000
    )


async def cost(table: Table) -> None:
    data = photo()
    validator = files.Validator(POLICY)
    await validator.start()

    def decode() -> None:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()

    def in_process() -> None:
        hashlib.sha256(data).hexdigest()
        inspect(data, (POLICY,))
        decoding.decode("jpeg", data, frames=1, sanitise=False, quality=90)

    async def check() -> None:
        await validator.check(data, filename="a.jpg", declared_type="image/jpeg")

    async def sanitise() -> None:
        await validator.check(data, filename="a.jpg", declared_type="image/jpeg", sanitise=True)

    here = {
        "decode": decode,
        "walk": lambda: inspect(data, (POLICY,)),
        "sha256": lambda: hashlib.sha256(data).hexdigest(),
        "in process": in_process,
    }
    found = await ratios(here, calls=1, rounds=41)
    table.add("structure walk", found["walk"])
    table.add("sha256", found["sha256"])
    table.add("hash, walk and decode in one process", found["in process"], ceiling=1.22)
    apart = {"decode": decode, "check": check, "sanitise": sanitise}
    found = await ratios(apart, calls=1, rounds=41, clock=time.perf_counter)
    table.add("check, decoded in a worker", found["check"], ceiling=1.20)
    table.add("check and re-encode", found["sanitise"], ceiling=2.40)
    await validator.aclose()


def tutorial(data: bytes, filename: str) -> bool:
    """The recipe: the head by libmagic, the extension, Image.verify, the size."""
    allowed = {
        "image/jpeg": ("jpg", "jpeg"),
        "image/png": ("png",),
        "image/gif": ("gif",),
        "image/webp": ("webp",),
    }
    extension = filename.rpartition(".")[2].lower()
    if len(data) > POLICY.max_bytes or extension not in {each for some in allowed.values() for each in some}:
        return False
    if files.libmagic(data[:2048]) not in allowed:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                picture.verify()
                return max(picture.size) <= 2048
    except Exception:
        return False


async def catch(table: Table) -> None:
    validator = files.Validator(POLICY)
    await validator.start()

    async def ours(data: bytes, filename: str, declared: str | None) -> bool:
        try:
            await validator.check(data, filename=filename, declared_type=declared)
        except files.InvalidFileError:
            return False
        return True

    for title, samples, wanted in (
        ("hostile files refused", upload_corpus.hostile(), False),
        ("contradictions refused", upload_corpus.strict(), False),
        ("honest files accepted", upload_corpus.honest(), True),
    ):
        every = list(samples)
        right = sum([await ours(each.data, each.filename, each.declared) is wanted for each in every])
        theirs = sum(tutorial(each.data, each.filename) is wanted for each in every)
        peer = {"libmagic + verify": 100 * theirs / len(every)}
        table.add(f"{title}, of {len(every):,}", 100 * right / len(every), floor=100, peers=peer, unit="%")
    kept = naive = total = 0
    for each in upload_corpus.carriers():
        total += 1
        with contextlib.suppress(files.InvalidFileError):
            clean = await validator.check(
                each.data, filename=each.filename, declared_type=None, sanitise=True
            )
            kept += MARKER in clean.content
        with Image.open(io.BytesIO(each.data)) as picture, io.BytesIO() as out:
            picture.save(out, picture.format)
            naive += MARKER in out.getvalue()
    peer = {"libmagic + verify": naive}
    table.add(f"markers left after re-encoding {total} carriers", kept, ceiling=0, peers=peer, unit="")
    await validator.aclose()


async def load(table: Table) -> None:
    validator = files.Validator(POLICY)
    await validator.start()
    slow = [
        encoded("PNG", drawing(2048, 2048)),
        encoded("JPEG", drawing(2048, 2048), quality=95, progressive=True),
    ] * 4
    attack = [each for each in bombs() if len(each.data) > 20_000][:12]

    async def one(data: bytes) -> None:
        with contextlib.suppress(files.InvalidFileError):
            await validator.check(data, filename=None, declared_type=None, sanitise=True)

    work = asyncio.gather(*(one(data) for data in [*(each.data for each in attack), *slow]))
    widest = 0.0
    while not work.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        widest = max(widest, time.perf_counter() - before)
    await work
    count = len(attack) + len(slow)
    table.add(f"widest gap of the event loop, {count} bombs at once", widest * 1000, ceiling=50, unit="ms")
    slowest = 0.0
    for each in bombs():
        before = time.perf_counter()
        with contextlib.suppress(RefusedError):
            inspect(each.data[: POLICY.max_bytes], (POLICY,))
        slowest = max(slowest, time.perf_counter() - before)
    table.add("slowest verdict before a decoder starts", slowest * 1000, ceiling=500, unit="ms")
    await validator.aclose()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=PARTS, help="one part instead of all three")


async def main(options: argparse.Namespace) -> Table:
    table = Table("files", "verdicts and time of an upload", packages=("pillow",))
    for name, part in zip(PARTS, (cost, catch, load), strict=True):
        if options.only in (None, name):
            await part(table)
    table.note(
        "Costs: one decode of a JPEG of 1 MB, 1440x1440, is ×1. The recipe never looks behind the head."
    )
    return table


if __name__ == "__main__":
    run(main, arguments)
