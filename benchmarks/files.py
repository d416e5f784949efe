"""What the file validator costs and catches, beside one Pillow decode and the usual recipe::

    python benchmarks/files.py            # everything, about a minute
    python benchmarks/files.py cost       # only the ratios; also: catch, load

Costs are the best of several runs (other programs only ever add), in multiples of one `Image.open(...).load()` of the
same 1 MB JPEG. The peer is the recipe of most tutorials: libmagic on the head, the extension, `Image.verify`, the size.
"""

# ruff: noqa: E402 - the packages beside this file have to be found first

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / each) for each in ("src", "tests/files/builders")]

import upload_corpus
from PIL import Image
from upload_corpus import MARKER
from upload_corpus.base import drawing, encoded
from upload_corpus.broken import bombs

from prodkit import files
from prodkit.files.decoding import decode as decoding
from prodkit.files.formats.base import RefusedError
from prodkit.files.structure import inspect

POLICY = files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048)
ROUNDS = 25


def photo() -> bytes:
    """A JPEG of about 1 MB, 1440x1440, as full of detail as a photograph."""
    noise = [Image.effect_noise((1440, 1440), spread) for spread in (60, 50)]
    picture = Image.merge("RGB", (noise[0], drawing(1440, 1440).getchannel(1), noise[1]))
    return next(
        data
        for quality in range(95, 20, -3)
        if len(data := encoded("JPEG", picture, quality=quality)) < 1_050_000
    )


def best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


async def best_async(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return min(times)


async def cost() -> None:
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

    async def check(sanitise: bool) -> None:
        await validator.check(data, filename="a.jpg", declared_type="image/jpeg", sanitise=sanitise)

    decode()
    unit = best(decode)
    rows = {
        "structure walk": best(lambda: inspect(data, (POLICY,))),
        "sha256": best(lambda: hashlib.sha256(data)),
        "hash, walk and decode in process (goal 1.25)": best(in_process),
        "check, decoded in a worker (goal 1.5)": await best_async(lambda: check(False)),
        "check and re-encode (goal 3.2)": await best_async(lambda: check(True)),
    }
    print(f"one decode of {len(data):,} bytes: {unit * 1000:.1f} ms = 1.00")
    for name, taken in rows.items():
        print(f"  {name:<48} {taken / unit:6.2f}")


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


async def catch() -> None:
    validator = files.Validator(POLICY)
    await validator.start()

    async def ours(data: bytes, filename: str, declared: str | None) -> bool:
        try:
            await validator.check(data, filename=filename, declared_type=declared)
        except files.InvalidFileError:
            return False
        return True

    print(f"{'samples':<28}{'all':>7}{'prodkit':>12}{'libmagic + verify':>20}")
    for title, samples, wanted in (
        ("hostile, refused", upload_corpus.hostile(), False),
        ("contradictions, refused", upload_corpus.strict(), False),
        ("honest, accepted", upload_corpus.honest(), True),
    ):
        every = list(samples)
        right = sum([await ours(each.data, each.filename, each.declared) is wanted for each in every])
        theirs = sum(tutorial(each.data, each.filename) is wanted for each in every)
        print(f"{title:<28}{len(every):>7}{right:>12}{theirs:>20}")
    kept = naive = total = 0
    for each in upload_corpus.carriers():
        total += 1
        try:
            clean = await validator.check(
                each.data, filename=each.filename, declared_type=None, sanitise=True
            )
            kept += MARKER in clean.content
        except files.InvalidFileError:
            pass
        with Image.open(io.BytesIO(each.data)) as picture:
            out = io.BytesIO()
            picture.save(out, picture.format)
            naive += MARKER in out.getvalue()
    print(f"{'markers after re-encoding':<28}{total:>7}{kept:>12}{naive:>20}")


async def load() -> None:
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

    began = time.perf_counter()
    work = asyncio.gather(*(one(data) for data in [*(each.data for each in attack), *slow]))
    widest = 0.0
    while not work.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        widest = max(widest, time.perf_counter() - before)
    taken = time.perf_counter() - began
    count = len(attack) + len(slow)
    print(
        f"{count} bombs at once: widest gap of the event loop {widest * 1000:.0f} ms (goal 50), all in {taken:.1f} s"
    )
    slowest = (0.0, "")
    for each in bombs():
        before = time.perf_counter()
        with contextlib.suppress(RefusedError):
            inspect(each.data[: POLICY.max_bytes], (POLICY,))
        slowest = max(slowest, (time.perf_counter() - before, each.name))
    print(f"slowest verdict before a decoder: {slowest[0] * 1000:.0f} ms, {slowest[1]} (goal 500)")


async def main() -> None:
    parts = {"cost": cost, "catch": catch, "load": load}
    chosen = sys.argv[1:] or list(parts)
    if set(chosen) - set(parts):
        sys.exit(f"one of {', '.join(parts)}")
    for each in chosen:
        await parts[each]()


if __name__ == "__main__":
    asyncio.run(main())
