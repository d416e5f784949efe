"""libmagic's name for a refused file: a second verdict for the log, never part of ours.

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
    """Return the media type that libmagic sees in `head`; "" without a libmagic."""
    find = _libmagic()
    if find is None:
        return ""
    try:
        return str(find(head[:_HEAD]))
    except Exception:  # noqa: BLE001 - a failing libmagic gives no verdict
        return ""


@functools.cache
def _libmagic() -> Callable[[bytes], Any] | None:
    for home in (None, _wheel()):
        try:
            found = _load(home)
        except Exception:  # noqa: BLE001, S112 - absent, or library and database do not fit: no verdict
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
