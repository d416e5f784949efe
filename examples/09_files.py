"""Uploads: what passes, what does not and why, and what is left of a photo's secrets.

python examples/09_files.py
"""

import asyncio
import io
from collections.abc import AsyncIterator

from PIL import Image

from prodkit import files


def photo() -> bytes:
    """A phone's photo: stored lying on its side, with a position and a comment in it."""
    picture = Image.new("RGB", (800, 600), "steelblue")
    picture.paste("orange", (0, 0, 800, 200))
    tags = Image.Exif()
    tags[0x0112] = 6  # turn me
    tags.get_ifd(0x8825)[2] = (23.0, 33.0, 1.0)  # where I was
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=tags, comment=b"at home")
    return out.getvalue()


async def arriving(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 4096):
        yield data[at : at + 4096]


async def main() -> None:
    policy = files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048)
    async with files.Validator(policy) as avatars:
        raw = photo()
        clean = await avatars.check(
            arriving(raw), filename="C:\\fotos\\eu na praia.JPG", declared_type="", sanitise=True
        )
        print(clean)
        assert (clean.width, clean.height) == (600, 800)  # upright
        with Image.open(io.BytesIO(clean.content)) as after:
            assert not after.getexif()
            assert "comment" not in after.info

        attacks = {
            "shell.php.jpg": raw,
            "me.png": raw,
            "cut.jpg": raw[: len(raw) // 2],
            "two.jpg": raw + b"PK\x03\x04 an archive after the picture",
            "page.gif": b"GIF89a<script>alert(1)</script>",
            "big.jpg": raw + bytes(6 * 2**20),
        }
        for name, data in attacks.items():
            try:
                await avatars.check(data, filename=name, declared_type="image/jpeg")
            except files.InvalidFileError as error:
                print(f"{name:14}", ", ".join(f"{each.code}: {each.message}" for each in error.problems))
            else:
                raise SystemExit(f"{name} was accepted")


asyncio.run(main())
