"""Uploads of every kind, made from nothing: honest ones that must pass and hostile ones that must not.

``hostile()`` and ``honest()`` give :class:`Sample` objects. Nothing here is copied from anywhere: pictures are drawn,
containers are put together byte by byte.
"""

from upload_corpus.base import MARKER, Sample
from upload_corpus.collect import carriers, honest, hostile, strict

__all__ = ["MARKER", "Sample", "carriers", "honest", "hostile", "strict"]
