"""Coverage-guided fuzzing of every walker, with atheris (`pip install atheris pillow`; Python 3.11 to 3.13)::

    PYTHONPATH=src python tests/fuzz/fuzz_walkers.py png -max_total_time=600
    PYTHONPATH=src python tests/fuzz/fuzz_walkers.py all 600        # every target in turn, 600 s each

A walker may refuse; anything else that it raises, any answer that contradicts the limits, and any input that takes
longer than two seconds is a find. Seeds are the samples of tests/files/builders.
"""

import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris pillow")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "files" / "builders"))

with atheris.instrument_imports(include=["prodkit.files"]):
    from prodkit.files.formats.active import refuse_active
    from prodkit.files.formats.base import ImageFacts, ImageLimits, RefusedError
    from prodkit.files.formats.gif import walk_gif
    from prodkit.files.formats.isobmff import walk_avif, walk_heic
    from prodkit.files.formats.jpeg import walk_jpeg
    from prodkit.files.formats.markup import check_markup, check_odf, decoded
    from prodkit.files.formats.office import walk_office
    from prodkit.files.formats.pdf import walk_pdf
    from prodkit.files.formats.png import walk_png
    from prodkit.files.formats.text import walk_text
    from prodkit.files.formats.trailer import check_trailer
    from prodkit.files.formats.webp import walk_webp
    from prodkit.files.names import MAX_BYTES, dangerous_inner_extension, safe_filename, suspicious
    from prodkit.files.policies import ImagePolicy
    from prodkit.files.structure import inspect

LIMITS = ImageLimits(max_width=512, max_height=512, max_frames=50, max_metadata_bytes=2**18, max_chunks=2_000)


REPAIRING = replace(LIMITS, repair=True)


def image(
    walk: Callable[[bytes, ImageLimits], ImageFacts], repair: Callable[[bytes], bytes] = bytes
) -> Callable[[bytes], None]:
    def one(data: bytes) -> None:
        data = repair(data)
        for limits in (LIMITS, REPAIRING):
            walked(data, limits)

    def walked(data: bytes, limits: ImageLimits) -> None:
        try:
            facts = walk(data, limits)
        except RefusedError:
            return
        if facts.rebuilt is not None:  # what a repair hands to the decoder has to show the same picture
            assert facts.repairs
            again = walk(facts.rebuilt, REPAIRING)
            assert (again.width, again.height, again.frames) == (facts.width, facts.height, facts.frames)
        assert 0 < facts.end <= len(data)
        assert 0 < facts.width <= 512
        assert 0 < facts.height <= 512
        assert 0 < facts.frames <= 51
        assert all(0 <= start <= end <= len(data) for start, end in facts.metadata)
        try:
            check_trailer(data, facts, LIMITS)
            refuse_active(data, facts.metadata, facts.inflated)
        except RefusedError:
            return

    return one


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks carry the right checksums, so that mutations reach what lies behind them."""
    out, pos = bytearray(data), 8
    while pos + 12 <= len(out):
        length = int.from_bytes(out[pos : pos + 4], "big")
        end = pos + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[pos + 4 : end]))
        pos = end + 4
    return bytes(out)


def trailer(data: bytes) -> None:
    facts = ImageFacts("jpeg", 10, 10, end=min(2, len(data)))
    try:
        check_trailer(data, facts, LIMITS)
    except RefusedError:
        return


def pdf(data: bytes) -> None:
    try:
        walk_pdf(data, max_unpacked_bytes=2**20, max_objects=1_000)
    except RefusedError:
        return


def office(data: bytes) -> None:
    try:
        walk_office(data, max_entries=100, max_unpacked_bytes=2**20, max_ratio=100)
    except RefusedError:
        return


def markup(data: bytes) -> None:
    for svg in (False, True):
        try:
            check_markup(decoded(data), svg=svg)
            check_odf(decoded(data), "content.xml")
        except RefusedError:
            continue


def text(data: bytes) -> None:
    for table in (False, True):
        try:
            walk_text(data, table=table, formulas=False, max_line_bytes=10_000, max_lines=1_000)
        except RefusedError:
            continue


def names(data: bytes) -> None:
    raw = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
    safe = safe_filename(raw)
    assert safe
    assert safe_filename(safe) == safe
    assert len(safe.encode()) <= MAX_BYTES
    assert not dangerous_inner_extension(safe)
    assert not suspicious(safe)
    assert not set(safe) & set('/\\:*?"<>|\0\r\n')


def whole(data: bytes) -> None:
    try:
        inspect(data, (ImagePolicy(max_width=512, max_height=512),))
    except RefusedError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "jpeg": image(walk_jpeg),
    "png": image(walk_png, with_checksums),
    "gif": image(walk_gif),
    "webp": image(walk_webp),
    "avif": image(walk_avif),
    "heic": image(walk_heic),
    "markup": markup,
    "trailer": trailer,
    "pdf": pdf,
    "office": office,
    "text": text,
    "names": names,
    "whole": whole,
}


def seeds(target: str, home: Path) -> None:
    import upload_corpus
    from upload_corpus.documents import documents
    from upload_corpus.naming import awkward_names

    samples = [each.data for each in upload_corpus.honest()] + [
        each.data for each in upload_corpus.carriers()
    ]
    samples += [each.data for each in documents()]
    if target == "names":
        samples = [name.encode("utf-8", "surrogatepass") for name in awkward_names()]
    prefixes = {
        "jpeg": b"\xff\xd8",
        "png": b"\x89P",
        "gif": b"GIF",
        "webp": b"RIFF",
        "pdf": b"%PDF",
        "office": b"PK",
    }
    prefix = prefixes.get(target, b"")
    for number, data in enumerate(each for each in samples if each.startswith(prefix) and len(each) < 20_000):
        (home / f"{number:04}").write_bytes(data[data.rfind(b"\xff\xd9") :] if target == "trailer" else data)


def main() -> None:
    if len(sys.argv) < 2 or (sys.argv[1] not in TARGETS and sys.argv[1] != "all"):
        sys.exit(f"one of {', '.join(TARGETS)} or all")
    target = sys.argv.pop(1)
    if target == "all":
        limit = f"-max_total_time={sys.argv[1] if len(sys.argv) > 1 else 600}"
        failed = [each for each in TARGETS if subprocess.call([sys.executable, __file__, each, limit])]
        sys.exit(f"found something: {', '.join(failed)}" if failed else 0)
    with tempfile.TemporaryDirectory() as corpus:
        seeds(target, Path(corpus))
        fixed = [
            f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{target}-",
            "-timeout=2",
            "-rss_limit_mb=1024",
            "-max_len=20000",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *fixed, *sys.argv[1:], corpus], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
