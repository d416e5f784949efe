"""Uploads: nothing hostile in, nobody honest out.

``Validator(policy).check(source, filename=…, declared_type=…)`` answers with a :class:`CleanFile` or raises
:class:`~prodkit.InvalidFileError` with every reason. The verdict comes from the bytes: a structure walk
bounds what a decoder may meet, and the decoder runs in a process that can be killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.errors import FileProblem as FileProblem, InvalidFileError as InvalidFileError
    from prodkit.files.clamd import Clamd as Clamd
    from prodkit.files.decoding.sandbox import Sandbox as Sandbox
    from prodkit.files.libmagic import libmagic as libmagic
    from prodkit.files.names import safe_filename as safe_filename
    from prodkit.files.policies import (
        AnyOf as AnyOf,
        ImagePolicy as ImagePolicy,
        OfficePolicy as OfficePolicy,
        PdfPolicy as PdfPolicy,
        Policy as Policy,
        TextPolicy as TextPolicy,
    )
    from prodkit.files.result import CleanFile as CleanFile
    from prodkit.files.validator import (
        FileAccepted as FileAccepted,
        FileRejected as FileRejected,
        Validator as Validator,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            ".errors": ("FileProblem", "InvalidFileError"),
            "clamd": ("Clamd",),
            "decoding.sandbox": ("Sandbox",),
            "libmagic": ("libmagic",),
            "names": ("safe_filename",),
            "policies": ("AnyOf", "ImagePolicy", "OfficePolicy", "PdfPolicy", "Policy", "TextPolicy"),
            "result": ("CleanFile",),
            "validator": ("FileAccepted", "FileRejected", "Validator"),
        },
    )
