"""The whole purpose, in a real browser: nothing on the console, nothing against the policy, nothing from elsewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from advisory.tests.browsing import tab

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]


def photo() -> dict[str, object]:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), (190, 120, 60)).save(buffer, "JPEG")
    return {"name": "minha foto.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def test_register_create_ask_watch_read_and_find_again(browser, app, simulator):
    simulator.script("slow-0.4", "slow-1.2", "slow-2.0", "slow-0.8")
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_role("link", name="Criar um especialista").click()
        page.get_by_label("Nome").fill("Clara Nunes")
        page.get_by_label("Papel").fill("engenheira de produção")
        page.get_by_label("Foto").set_input_files(photo())
        page.get_by_role("button", name="Criar especialista").click()
        page.get_by_text("Clara Nunes agora faz parte").wait_for()
        picture = page.locator("article", has_text="Clara Nunes").locator("img")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 300

        page.get_by_role("link", name="Perguntar", exact=True).click()
        question = "Devo trocar a máquina antiga por duas menores?"
        page.get_by_label("Sua pergunta").fill(question)
        assert page.locator("input[name=experts]:checked").count() == 3
        assert page.get_by_role("checkbox", name="Clara Nunes").is_checked()
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.wait_for_url("**/conselhos/*")

        page.evaluate(
            """() => { window.spoken = []; const status = document.querySelector("[role=status]");
            new MutationObserver(() => window.spoken.push(status.textContent))
              .observe(status, {childList: true, characterData: true, subtree: true}); }"""
        )
        status = page.get_by_role("status")
        status.get_by_text("Especialista 2 de 3").wait_for()
        bar = page.get_by_role("progressbar")
        assert bar.evaluate("bar => [bar.value, bar.max]") == [2, 3]
        assert page.locator(".seat.done").count() == 2
        assert page.locator(".seat.running").get_by_text("analisando").is_visible()
        page.get_by_role("heading", name="Síntese", exact=True).wait_for()
        status.get_by_text("Síntese pronta, com 3 especialistas.").wait_for()
        assert page.locator(".synthesis").get_by_text("Onde concordam").is_visible()
        assert len(page.evaluate("window.spoken")) <= 10
        assert page.get_by_role("button", name="Parar").count() == 0
        opinion = page.locator(".seat", has_text="Clara Nunes")
        opinion.locator("summary").click()
        assert opinion.get_by_text("como Clara Nunes").is_visible()
        address = page.url

        page.get_by_role("link", name="Histórico").click()
        page.get_by_role("link", name=question).click()
        assert page.url == address
        assert page.locator(".synthesis").is_visible()


def test_a_reload_in_between_loses_nothing_and_repeats_nothing(browser, app, simulator):
    simulator.script("slow-0.2", "slow-1.5", "slow-2.5", "slow-0.2")
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("O que acontece se eu recarregar?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("status").get_by_text("Especialista 1 de 3").wait_for()
        page.reload()
        assert page.locator(".seat").count() == 3
        assert page.locator(".seat.done").count() >= 1
        page.get_by_role("heading", name="Síntese", exact=True).wait_for()
        assert page.locator(".seat").count() == page.locator(".seat.done").count() == 3
        assert page.locator(".synthesis").count() == 1


def test_with_the_keyboard_alone_one_asks_and_stops(browser, app, simulator):
    simulator.script("slow-0.2", "slow-60", "slow-60")
    with tab(browser, app) as ours:
        page = ours.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Ir para o conteúdo"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "question"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.type("Dá para fazer tudo sem o mouse?")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("Tudo mesmo?")
        page.keyboard.press("Enter")
        page.wait_for_url("**/conselhos/*")
        page.get_by_role("status").get_by_text("Especialista 1 de 3").wait_for()
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "Parar":
                break
        page.keyboard.press("Enter")
        page.get_by_text("Você interrompeu o conselho. Pareceres guardados: 1 de 3.").wait_for()
        assert page.locator(".seat.stopped").count() == 2


def test_with_the_keyboard_alone_one_creates_and_exports(browser, app, simulator):
    with tab(browser, app) as ours:
        page = ours.page
        ours.tab_to("Criar um especialista")
        page.keyboard.press("Enter")
        page.wait_for_url("**/especialistas/novo")
        for field, text in (("name", "Clara Nunes"), ("role", "engenheira de produção")):
            ours.tab_to(field)
            page.keyboard.type(text)
        ours.tab_to("Criar especialista")
        page.keyboard.press("Enter")
        page.get_by_text("Clara Nunes agora faz parte").wait_for()
        ours.go("/")
        ours.tab_to("question")
        page.keyboard.type("Dá para levar o resultado sem o mouse?")
        ours.tab_to("reviewed")
        page.keyboard.press("Space")
        ours.tab_to("Perguntar ao conselho")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Revisão cruzada").wait_for()
        page.get_by_role("status").get_by_text("Síntese pronta").wait_for()
        ours.tab_to("Exportar em Markdown")
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert download.value.suggested_filename.endswith(".md")
        ours.tab_to("Copiar a síntese")
        ours.tab_to("Criar link")
        page.keyboard.press("Enter")
        page.get_by_text("Guarde agora").wait_for()
        ours.go("/historico")
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").startswith("Apagar"):
                break
        page.keyboard.press("Enter")
        page.get_by_text("Conselho apagado.").wait_for()
        ours.tab_to("Desfazer")
        page.keyboard.press("Enter")
        page.get_by_text("Conselho restaurado.").wait_for()


def test_the_synthesis_is_copied_by_a_click(browser, app, simulator):
    with tab(browser, app, permissions=["clipboard-read", "clipboard-write"]) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("O que vai para a área de transferência?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("status").get_by_text("Síntese pronta").wait_for()
        page.get_by_role("button", name="Copiar a síntese").click()
        page.get_by_role("button", name="Copiado").wait_for()
        assert "Onde concordam" in page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("link", name="Ver lado a lado").click()
        assert page.locator("details.parecer[open], details[id^=parecer-][open]").count() == 3
        tops = page.locator(".seat").evaluate_all(
            "all => all.map((each) => each.getBoundingClientRect().top)"
        )
        assert len({round(each) for each in tops}) < len(tops)  # at least two stand side by side


AXE = "() => axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"


@pytest.mark.parametrize("mode", ["light", "dark", "print", "narrow"])
def test_no_page_of_a_council_has_a_barrier(browser, app, simulator, mode):
    """Every rule of axe-core, on the pages of asking, a whole council, a partial one, history and a shared link."""
    import axe_playwright_python

    script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    options = {"color_scheme": "dark"} if mode == "dark" else {}
    if mode == "narrow":
        options["viewport"] = {"width": 320, "height": 640}
    found = []

    with tab(browser, app, **options) as ours:
        page = ours.page
        if mode == "print":
            page.emulate_media(media="print")

        def check(where: str) -> None:
            page.evaluate(script)
            for each in page.evaluate(AXE):
                nodes = "; ".join(node["html"][:120] for node in each["nodes"][:3])
                found.append(f"{where}: {each['id']} ({each['help']}): {nodes}")
            if mode == "narrow":
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= 320, f"{where} is {width} px wide"

        check("home")
        page.emulate_media(media="screen")
        page.get_by_label("Sua pergunta").fill("Há barreiras nesta página?")
        page.get_by_label("Revisão cruzada").check()
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("status").get_by_text("Síntese pronta").wait_for()
        council = page.url.removeprefix(app.url)
        page.get_by_role("button", name="Criar link").click()
        link = page.locator("#link").get_attribute("href").removeprefix(app.url)
        page.locator("summary").evaluate_all("all => all.forEach((each) => each.click())")
        if mode == "print":
            page.emulate_media(media="print")
        check("council with a link")
        simulator.script("status-400", "ok", "overloaded", "slow-30")
        page.emulate_media(media="screen")
        ours.go("/")
        page.get_by_label("Sua pergunta").fill("E enquanto uma tentativa espera?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_text("nova tentativa 2 de 3").wait_for()
        if mode == "print":
            page.emulate_media(media="print")
        check("council that waits")
        page.emulate_media(media="screen")
        page.get_by_role("button", name="Parar").click()
        page.get_by_text("Você interrompeu o conselho").wait_for()
        if mode == "print":
            page.emulate_media(media="print")
        check("council that was stopped")
        for path in (f"{council}?vista=lado", f"{council}?guardada=1", link, "/historico"):
            ours.go(path)
            check(path.partition("?")[2] or path[:3])
    assert found == []


def test_without_scripts_it_works_too(browser, app, simulator):
    simulator.always("ok")
    with tab(browser, app, java_script_enabled=False) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("Funciona também sem JavaScript?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("heading", name="Síntese", exact=True).wait_for()  # the page reloads itself


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(browser, app, simulator, scheme):
    with tab(browser, app, viewport={"width": 320, "height": 640}, color_scheme=scheme) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("Palavracompridasemespaçoalgumnomeio" * 4 + "?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("heading", name="Síntese", exact=True).wait_for()
        council = re.sub(r"^https?://[^/]+", "", page.url)
        for path in (council, "/", "/especialistas", "/especialistas/novo", "/historico", "/saude"):
            ours.go(path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 320, f"{path} is {width} px wide"


def test_eight_live_tabs_all_load_and_all_come_to_the_end(browser, app, simulator):
    simulator.script("ok", "slow-9", "ok")
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("Oito abas ao mesmo tempo travam o site?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.wait_for_url("**/conselhos/*")
        tabs = [page.context.new_page() for _ in range(7)]
        for each in tabs:
            each.goto(page.url, timeout=8000)
        for each in [page, *tabs]:
            each.get_by_role("status").get_by_text("Síntese pronta").wait_for()


def test_printing_shows_every_opinion(browser, app, simulator):
    simulator.reset()
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("O que sai no papel quando eu imprimo?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("status").get_by_text("Síntese pronta").wait_for()
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        opinions = page.locator(".seat .prose")
        assert opinions.count() == 3
        for n in range(3):
            assert opinions.nth(n).is_visible()
        assert float(opinions.first.evaluate("each => parseFloat(getComputedStyle(each).fontSize)")) < 20


def test_the_synthesis_grows_on_the_page(browser, app, simulator):
    simulator.reset()
    simulator.script("ok", "ok", "ok")
    simulator.always({"kind": "ok", "delay": 0.06})
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_label("Sua pergunta").fill("A síntese aparece enquanto é escrita?")
        page.get_by_role("button", name="Perguntar ao conselho").click()
        live = page.locator("#sintese-viva")
        live.get_by_text("Onde concordam").wait_for()
        assert live.get_attribute("aria-busy") == "true"
        assert ours.violations() == []
        page.reload()  # in mid-sentence
        assert live.get_by_text("Onde concordam").is_visible()
        page.get_by_role("status").get_by_text("Síntese pronta").wait_for()
        assert page.locator(".synthesis").get_by_text("Onde concordam").count() == 1
        assert live.count() == 0
