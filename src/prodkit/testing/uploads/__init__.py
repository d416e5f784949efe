"""Conformance set for upload checks: photos as cameras, phones, scanners and messengers write them, with verdicts.

::

    from prodkit.testing import uploads

    async def test_my_check_accepts_phones() -> None:
        failures = await uploads.failures(my_check)  # my_check(data, filename, declared_type) raises to refuse
        assert failures == []

Every file is built byte by byte from the documented structure of its device, around small pictures that Pillow draws:
no photo of anybody is inside. ``python -m prodkit.testing.uploads DIR...`` scores a folder of your own files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.testing.uploads.devices import samples as samples
    from prodkit.testing.uploads.run import failures as failures
    from prodkit.testing.uploads.sample import UploadSample as UploadSample
else:
    __getattr__, __dir__, __all__ = attach(
        __name__, {"devices": ("samples",), "run": ("failures",), "sample": ("UploadSample",)}
    )
