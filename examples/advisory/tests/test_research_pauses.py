"""Sources that are not configured, that keep failing, or that ask to wait: apps of their own."""

from __future__ import annotations

import re

import pytest

from advisory.tests.researching import enrich, persona

pytestmark = pytest.mark.integration


def test_without_keys_sources_say_that_they_are_not_configured(make_settings, running, a_visitor, outside):
    some = running(make_settings(youtube_api_key=None, unsplash_access_key=None)).start()
    try:
        with a_visitor(some.url) as eva:
            research = enrich(eva, persona(eva))
            last = eva.events(research)[-1]
            assert "Parcial (1 de 3 fontes)." in last["message"]
            assert "os vídeos e a foto: não configurada nesta instalação" in last["message"]
            assert eva.get(research).text.count("não configurada</span>") >= 0
    finally:
        some.stop()
    none = running(
        make_settings(perplexity_api_key=None, youtube_api_key=None, unsplash_access_key=None)
    ).start()
    try:
        with a_visitor(none.url) as eva:
            path = persona(eva)
            assert eva.post(f"{path}/enriquecer", page=path).headers["location"] == path
            assert "Nenhuma fonte está configurada" in eva.get(path).text
    finally:
        none.stop()


def test_a_source_that_keeps_failing_is_paused_and_says_until_when(
    make_settings, running, a_visitor, outside
):
    app = running(make_settings()).start()
    try:
        with a_visitor(app.url) as eva:
            outside.youtube.always("503")
            for _ in range(2):
                last = eva.events(enrich(eva, persona(eva)))[-1]
            asked = outside.youtube.counters.requests
            assert asked == 5  # then the breaker is open
            last = eva.events(enrich(eva, persona(eva)))[-1]
            assert re.search(
                r"em pausa depois de várias falhas seguidas; nova tentativa às \d\d:\d\d", last["message"]
            )
            assert outside.youtube.counters.requests == asked
            report = eva.get("/api/health").json()
            assert report["status"] == "degraded"
        for each in (outside.perplexity, outside.unsplash):
            each.always("503")
        with a_visitor(app.url) as ivo:
            path = persona(ivo)
            for _ in range(2):
                ivo.events(enrich(ivo, path))
            assert ivo.post(f"{path}/enriquecer", page=path).headers["location"] == path
            assert "As fontes estão em pausa" in ivo.get(path).text
    finally:
        app.stop()


def test_a_source_that_asks_to_wait_is_not_asked_before(make_settings, running, a_visitor, outside):
    app = running(make_settings()).start()
    try:
        with a_visitor(app.url) as eva:
            outside.youtube.script("ra-600")
            for _ in range(2):
                last = eva.events(enrich(eva, persona(eva)))[-1]
                said = r"Faltou os vídeos: a fonte está com pedidos demais; tente em 1[01] minutos\."
                assert re.search(said, last["message"])  # 600 s and a margin of 2 %
            assert outside.youtube.counters.requests == 1
    finally:
        app.stop()
