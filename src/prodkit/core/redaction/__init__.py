"""Redaction: take the secrets out of any value before it leaves the process.

::

    redact(value)                        any value; the original is left as it is
      └─ walk: mappings, lists, pairs    a sensitive name hides its value
           └─ redact_text(text)
                ├─ registered values     secrets.REGISTRY
                ├─ private keys, addresses with a password, JWTs
                ├─ name = value, headers, flags
                ├─ keys of known providers
                └─ cards, CPF, CNPJ
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.core.redaction.names import is_sensitive as is_sensitive
    from prodkit.core.redaction.redactor import (
        add_secrets as add_secrets,
        redact as redact,
        redact_text as redact_text,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "names": ("is_sensitive",),
            "redactor": ("add_secrets", "redact", "redact_text"),
        },
    )
