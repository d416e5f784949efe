"""Redaction: take the secrets out of any value before it leaves the process.

::

    redact(value)                        any value; the original is left as it is
      └─ walk: mappings, lists, pairs    a sensitive name hides its value   (names)
           └─ Redactor.text(text)
                ├─ registered values     secrets.REGISTRY, in all their encodings
                └─ scrub(text)
                     ├─ addresses        scheme://user:password@host
                     ├─ pairs            name = value, headers, JSON, flags  (names, values)
                     ├─ forms            keys of known providers, JWTs, webhooks
                     └─ people           cards, CPF, CNPJ, e-mail, telephone
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.core.redaction.names import is_sensitive as is_sensitive
    from prodkit.core.redaction.redactor import (
        Redactor as Redactor,
        add_secrets as add_secrets,
        redact as redact,
        redact_text as redact_text,
    )
    from prodkit.core.redaction.scrub import KINDS as KINDS
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "names": ("is_sensitive",),
            "redactor": ("Redactor", "add_secrets", "redact", "redact_text"),
            "scrub": ("KINDS",),
        },
    )
