"""Validate uploads: accept honest files, refuse hostile ones with every reason.

``Validator(policy).check(source, filename=…, declared_type=…)`` returns a :class:`CleanFile` or raises
:class:`~prodkit.InvalidFileError`. The path of one upload::

    Validator.check                          validator.py     deadline of the caller
      Inspection.run                         inspection.py    collects every problem, emits the event
        reader.read                          reader.py        at most one chunk past the limit
        structure.inspect                    structure.py     on a thread beside the event loop
          sniff -> formats.walk_* ->         sniff.py, formats/
          check_trailer -> refuse_active     bounds the decoder's work; finds programs beside the pixels
        Sandbox.decode -> worker -> decode   decoding/        in a process that can be killed
        structure.reinspect                  structure.py     re-encoded bytes are checked again
        Sandbox.rewrite_pdf -> documents     decoding/        a damaged PDF, with on_damage="rewrite"
      -> CleanFile                           result.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.errors import FileProblem as FileProblem, InvalidFileError as InvalidFileError
    from prodkit.files.clamd import Clamd as Clamd
    from prodkit.files.decoding.sandbox import Sandbox as Sandbox
    from prodkit.files.events import FileAccepted as FileAccepted, FileRejected as FileRejected
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
    from prodkit.files.request import Progress as Progress
    from prodkit.files.result import CleanFile as CleanFile, Repair as Repair
    from prodkit.files.validator import Validator as Validator
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            ".errors": ("FileProblem", "InvalidFileError"),
            "clamd": ("Clamd",),
            "decoding.sandbox": ("Sandbox",),
            "events": ("FileAccepted", "FileRejected"),
            "libmagic": ("libmagic",),
            "names": ("safe_filename",),
            "policies": ("AnyOf", "ImagePolicy", "OfficePolicy", "PdfPolicy", "Policy", "TextPolicy"),
            "request": ("Progress",),
            "result": ("CleanFile", "Repair"),
            "validator": ("Validator",),
        },
    )
