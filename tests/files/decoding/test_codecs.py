"""The decoders that a policy needs are looked for when a validator is made, not when the first file arrives."""

import importlib.util
from collections.abc import Callable

import pytest

from prodkit import MissingExtraError, files
from prodkit.files.decoding import codecs


def without(package: str) -> Callable[..., object]:
    find = importlib.util.find_spec
    return lambda name, *more: None if name == package else find(name, *more)


def test_heic_without_its_decoder_is_refused_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without("pillow_heif"))
    files.Validator(files.ImagePolicy())
    with pytest.raises(MissingExtraError, match=r"pillow-heif .*pip install 'prodkit-resilience\[heic\]'"):
        files.Validator(files.AnyOf(files.PdfPolicy(), files.ImagePolicy(formats=frozenset(("heic",)))))


def test_pictures_without_pillow_are_refused_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without("PIL"))
    files.Validator(files.PdfPolicy())
    with pytest.raises(MissingExtraError, match=r"prodkit-resilience\[files\]"):
        files.Validator(files.ImagePolicy())


def test_an_old_pillow_is_refused_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_version", lambda: "12.3.0")
    with pytest.raises(MissingExtraError, match=r"Pillow 12\.3\.0 has known security holes, 13 or newer"):
        files.Validator(files.ImagePolicy())


def test_avif_that_pillow_was_built_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_has_avif", lambda: False)
    with pytest.raises(MissingExtraError, match="built without AVIF"):
        files.Validator(files.ImagePolicy(formats=frozenset(("avif",))))
