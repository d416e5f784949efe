"""All samples by what has to happen to them."""

from __future__ import annotations

from collections.abc import Iterator

from upload_corpus import broken, carriers as hidden, honest_files
from upload_corpus.base import Sample, bases
from upload_corpus.naming import hostile_names


def hostile() -> Iterator[Sample]:
    """Must be refused."""
    yield from hidden.active()
    yield from hidden.appended()
    yield from broken.truncated()
    yield from broken.lying()
    yield from broken.disguised()
    yield from broken.bombs()
    yield from (Sample(f"name:{name!a}", bases()["jpeg"][1], name, "image/jpeg") for name in hostile_names())


def strict() -> Iterator[Sample]:
    """Refused by a strict validator."""
    yield from broken.cross_named()


def honest() -> Iterator[Sample]:
    """Must pass."""
    yield from honest_files.honest()


def carriers() -> Iterator[Sample]:
    """May pass; after sanitising nothing of the marker is left."""
    yield from hidden.inert()
