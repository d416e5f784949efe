"""Conversations in a real browser: streaming, stop, keyboard, small screens, axe, print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import advisory
from advisory.tests.browsing import tab

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
QUESTION = "Como conto ao meu sócio que quero sair?"
SLOW = {"kind": "ok", "delay": 0.08}


def begin(page, question: str = QUESTION) -> None:
    page.get_by_role("link", name="Conversas").click()
    page.get_by_role("link", name="Nova conversa").click()
    page.get_by_label("Sua pergunta").fill(question)
    page.get_by_role("button", name="Começar a conversa").click()
    page.wait_for_url(re.compile(r"/conversas/[0-9a-f-]{36}"))


def test_one_asks_watches_asks_again_and_stops(browser, app, simulator):
    simulator.always(SLOW)
    with tab(browser, app) as ours:
        page = ours.page
        begin(page)
        page.evaluate(
            """() => { window.spoken = []; const status = document.querySelector("#situacao");
            new MutationObserver(() => window.spoken.push(status.textContent))
              .observe(status, {childList: true, characterData: true, subtree: true}); }"""
        )
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        assert page.locator("#resposta-viva").get_attribute("aria-busy") == "true"
        composer = page.get_by_label("Sua próxima pergunta")
        composer.fill("E se ele chorar?")  # one writes on while the answer is written
        composer.press("Enter")  # and nothing is sent yet
        page.get_by_text("Resposta completa.").wait_for()
        assert page.get_by_role("button", name="Parar").count() == 0
        assert composer.input_value() == "E se ele chorar?"
        assert len(page.evaluate("window.spoken")) <= 3
        assert page.locator(".answer .prose ol li").count() == 3  # the Markdown is rendered
        composer.press("Enter")
        page.locator("#turno-2 #resposta-viva").get_by_text("eu começaria").wait_for()
        page.get_by_role("button", name="Parar").click()
        page.get_by_text("Você interrompeu esta resposta.").wait_for()
        page.get_by_role("button", name="Continuar a resposta").click()
        page.get_by_text("retomada 1 vez no meio do texto").wait_for()


def test_a_reload_in_mid_sentence_and_a_second_device_see_the_same(browser, app, simulator):
    simulator.always(SLOW)
    with tab(browser, app) as ours:
        page = ours.page
        begin(page)
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        page.reload()
        assert "eu começaria" in page.locator("#resposta-viva").inner_text()
        second = page.context.new_page()
        second.goto(page.url)
        for each in (page, second):
            each.get_by_text("Resposta completa.").wait_for()
        texts = [each.locator("#texto-1").inner_text() for each in (page, second)]
        assert texts[0] == texts[1]
        assert texts[0].count("eu começaria") == 1


def test_with_the_keyboard_alone_one_talks_edits_and_stops(browser, app, simulator):
    simulator.always(SLOW)
    with tab(browser, app) as ours:
        page = ours.go("/conversas/nova")

        ours.tab_to("question")
        page.keyboard.type(QUESTION)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/conversas/[0-9a-f-]{36}"))
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        ours.tab_to("Parar")
        page.keyboard.press("Enter")
        page.get_by_text("Você interrompeu esta resposta.").wait_for()
        ours.tab_to("Editar a pergunta 1")
        page.keyboard.press("Enter")
        ours.tab_to("editar-1-texto")
        page.keyboard.type(" Hoje?")
        ours.tab_to("Perguntar assim")
        page.keyboard.press("Enter")
        page.get_by_text("Versões anteriores (1)").wait_for()


def test_without_scripts_it_works_too(browser, app, simulator):
    simulator.always({"kind": "ok", "delay": 0.02})
    with tab(browser, app, java_script_enabled=False) as ours:
        page = ours.page
        begin(page)
        page.get_by_role("button", name="Responder de novo").wait_for()  # the page reloads itself
        page.get_by_label("Sua próxima pergunta").fill("E depois?")
        page.get_by_role("button", name="Enviar").click()
        page.locator("#turno-2").get_by_role("button", name="Responder de novo").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_axe_finds_nothing_on_any_page_or_state(browser, app, simulator, scheme):
    options = {"color_scheme": scheme} if scheme != "print" else {}
    with tab(browser, app, **options) as ours:
        page = ours.page
        if scheme == "print":
            page.emulate_media(media="print")

        def look(what: str) -> None:
            assert ours.violations() == [], what

        simulator.always({"kind": "ok", "delay": 0.2})
        ours.go("/conversas")
        look("no conversations")
        ours.go("/conversas/nova")
        look("a new conversation")
        page.get_by_label("Sua pergunta").fill(QUESTION) if scheme != "print" else None
        if scheme == "print":
            page.emulate_media(media="screen")
            page.get_by_label("Sua pergunta").fill(QUESTION)
        page.get_by_role("button", name="Começar a conversa").click()
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        if scheme == "print":
            page.emulate_media(media="print")
        look("an answer in progress")
        path = re.sub(r"^https?://[^/]+|#.*$", "", page.url)
        page.emulate_media(media="screen")
        page.get_by_role("button", name="Parar").click()
        page.get_by_text("Você interrompeu esta resposta.").wait_for()
        simulator.always("ok")
        page.get_by_role("button", name="Continuar a resposta").click()
        page.get_by_text("retomada 1 vez").wait_for()
        page.locator("#editar-1 summary").click()
        page.get_by_role("button", name="Perguntar assim").click()
        page.get_by_text("Versões anteriores (1)").wait_for()
        page.get_by_role("button", name="Responder de novo").wait_for()
        page.locator("#versoes summary").click()
        page.locator("#editar-1 summary").click()
        if scheme == "print":
            page.emulate_media(media="print")
        look("everything open")
        ours.go(path)
        look("a conversation")
        ours.go("/conversas?busca=nada")
        look("nothing found")
        ours.go("/conversas")
        look("conversations")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(browser, app, simulator, scheme):
    simulator.always("ok")
    with tab(browser, app, viewport={"width": 320, "height": 640}, color_scheme=scheme) as ours:
        page = ours.page
        begin(page, "Palavracompridasemespaçoalgumnomeio" * 4 + "?")
        page.get_by_role("button", name="Responder de novo").wait_for()
        page.locator("#editar-1 summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for path in ("/conversas", "/conversas/nova"):
            ours.go(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_printing_shows_questions_and_answers_and_no_controls(browser, app, simulator):
    simulator.always("ok")
    with tab(browser, app) as ours:
        page = ours.page
        begin(page)
        page.get_by_role("button", name="Responder de novo").wait_for()
        page.emulate_media(media="print")
        assert page.locator(".asked p").first.is_visible()
        assert page.locator("#texto-1").is_visible()
        for control in ("#compor", ".again", ".edit", ".actions"):
            assert not page.locator(control).first.is_visible(), control


def test_a_right_to_left_question_runs_right_to_left(browser, app, simulator):
    simulator.always({"kind": "ok", "text": "هذا جواب قصير."})
    with tab(browser, app) as ours:
        page = ours.page
        begin(page, "كيف أخبر شريكي أنني أريد المغادرة؟")
        page.locator("#texto-1").wait_for()
        for place in (".asked p", "#texto-1"):
            assert page.locator(place).first.evaluate("each => getComputedStyle(each).direction") == "rtl"


def test_hidden_pages_hold_no_stream(browser, app, simulator):
    simulator.always({"kind": "ok", "delay": 0.1})
    with tab(browser, app) as ours:
        page = ours.page
        begin(page)
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        pages = [page.context.new_page() for _ in range(6)]
        for each in pages:
            each.goto(page.url, timeout=8000)
        held = page.evaluate("navigator.locks.query().then(each => each.held.length)")
        assert held <= 3
        for each in [page, *pages]:
            each.get_by_text("Resposta completa.").wait_for()


def test_all_scripts_together_are_small():
    scripts = (Path(advisory.__file__).parent / "static").glob("*.js")
    assert sum(each.stat().st_size for each in scripts) <= 20_000
