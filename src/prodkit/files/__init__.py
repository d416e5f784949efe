"""Uploads: nothing hostile in, nobody honest out.

``Validator(policy).check(source, filename=…, declared_type=…)`` answers with a :class:`CleanFile` or raises
:class:`~prodkit.InvalidFileError` with every reason. The verdict comes from the bytes: a structure walk
bounds what a decoder may meet, and the decoder runs in a process that can be killed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.errors import FileProblem as FileProblem, InvalidFileError as InvalidFileError
    from prodkit.files.clamd import Clamd as Clamd
    from prodkit.files.clean import CleanFile as CleanFile
    from prodkit.files.names import safe_filename as safe_filename
    from prodkit.files.opinion import libmagic as libmagic
    from prodkit.files.policies import (
        AnyOf as AnyOf,
        ImagePolicy as ImagePolicy,
        OfficePolicy as OfficePolicy,
        PdfPolicy as PdfPolicy,
        Policy as Policy,
        TextPolicy as TextPolicy,
    )
    from prodkit.files.sandbox import Sandbox as Sandbox
    from prodkit.files.validator import (
        FileAccepted as FileAccepted,
        FileRejected as FileRejected,
        Validator as Validator,
    )

_HOME = {
    **dict.fromkeys(("FileProblem", "InvalidFileError"), "errors"),
    "Clamd": "files.clamd",
    "CleanFile": "files.clean",
    "libmagic": "files.opinion",
    "safe_filename": "files.names",
    **dict.fromkeys(
        ("AnyOf", "ImagePolicy", "OfficePolicy", "PdfPolicy", "Policy", "TextPolicy"), "files.policies"
    ),
    "Sandbox": "files.sandbox",
    **dict.fromkeys(("FileAccepted", "FileRejected", "Validator"), "files.validator"),
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.files' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
