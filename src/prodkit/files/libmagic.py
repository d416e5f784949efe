"""libmagic's name for a file that we refused: a second opinion for the log, never a part of the verdict.

python-magic finds a libmagic of the system; where there is none, the one inside the `pylibmagic` wheel is loaded
without importing that package, whose import would change this process's environment and ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["libmagic"]

_HEAD: Final = 4096


def libmagic(head: bytes) -> str:
    """What libmagic takes `head` for, as a media type; "" without a libmagic."""
    find = _libmagic()
    if find is None:
        return ""
    try:
        return str(find(head[:_HEAD]))
    except Exception:  # noqa: BLE001 - an opinion that fails is no opinion
        return ""


@functools.cache
def _libmagic() -> Callable[[bytes], Any] | None:
    for home in (None, _wheel()):
        try:
            found = _load(home)
        except Exception:  # noqa: BLE001, S112 - absent, or a library and a database that do not fit: no opinion
            continue
        if found is not None:
            return found
    return None


def _load(home: Path | None) -> Callable[[bytes], Any] | None:
    if home is not None:
        names = ("libmagic.so.1", "libmagic.1.dylib", "libmagic.dylib")
        library = next((home / name for name in names if (home / name).is_file()), None)
        if library is None:
            return None
        # Once loaded, python-magic's own search finds it by its name: nothing of the environment changes.
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    import magic

    database = None if home is None else str(home / "magic.mgc")
    find: Callable[[bytes], Any] = magic.Magic(mime=True, magic_file=database).from_buffer
    return find


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pylibmagic")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent
