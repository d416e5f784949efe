"""Personas, research, clones and trials in a real browser: live, without scripts, narrow, dark, printed, axe."""

from __future__ import annotations

import itertools
import re

import pytest

from advisory.tests.browsing import tab

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
_numbers = itertools.count(1)


def path_of(page) -> str:
    return re.sub(r"^https?://[^/]+", "", page.url)


def create(page) -> str:
    """A persona of a kind that no other test asks for; the path of its page."""
    page.get_by_role("link", name="Personas", exact=True).click()
    page.get_by_role("link", name="Nova persona").click()
    page.get_by_label("Nome").fill("Marta Reis")
    page.get_by_label("Quem é").fill(f"compra o pão número {next(_numbers)} no navegador")
    page.get_by_role("button", name="Criar persona").click()
    page.get_by_text("Marta Reis foi criada.").wait_for()
    return path_of(page)


def test_sources_are_watched_one_by_one_and_one_is_asked_again(browser, app, outside, simulator):
    outside.perplexity.script("slow-2.5")
    outside.youtube.always("quota")
    outside.unsplash.script("slow-1")
    with tab(browser, app) as ours:
        page = ours.page
        persona = create(page)
        page.get_by_role("button", name="Enriquecer com fontes públicas").click()
        page.wait_for_url("**/pesquisas/*")
        bar = page.get_by_role("progressbar")
        page.locator("#fonte-videos").get_by_text("sem resposta").wait_for()
        page.locator("#fonte-photo").get_by_text("concluído").wait_for()
        assert bar.evaluate("bar => [bar.value, bar.max]") == [2, 4]
        page.reload()
        assert page.locator("#fonte-photo").get_by_text("concluído").is_visible()
        page.get_by_role("status").get_by_text("Parcial (2 de 3 fontes).").wait_for()
        page.get_by_role("heading", name="Perfil", exact=True).wait_for()
        videos = page.locator("#fonte-videos")
        assert videos.get_by_text("A cota de uso desta fonte acabou por hoje.").is_visible()
        outside.youtube.always("ok")
        videos.get_by_role("button", name="Tentar a fonte de novo").click()
        page.get_by_role("status").get_by_text("Concluído: as três fontes responderam.").wait_for()
        assert videos.get_by_role("link").count() == 5
        page.get_by_role("link", name="Ver a persona").click()
        assert path_of(page) == persona
        picture = page.locator(".profile img")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
        page.get_by_role("link", name="Perguntar sobre Marta Reis").click()
        assert page.get_by_label("Sobre quem é a pergunta").evaluate("each => each.selectedIndex") == 1


def test_a_clone_is_prepared_tried_out_and_accepted(browser, app, outside, simulator):
    with tab(browser, app) as ours:
        page = ours.page
        page.get_by_role("link", name="Especialistas", exact=True).click()
        page.get_by_role("link", name="Clonar de fontes públicas").click()
        page.get_by_label("Nome").fill("Lina Bo Duarte")
        page.get_by_label("Pelo que é conhecida").fill(f"escreve sobre padarias, edição {next(_numbers)}")
        page.get_by_role("button", name="Pesquisar e preparar o rascunho").click()
        page.get_by_role("link", name="Revisar o rascunho").click()
        page.get_by_role("link", name="Experimentar antes").click()
        page.get_by_label("Sua pergunta").fill("O que você faria primeiro?")
        page.get_by_role("button", name="Perguntar").click()
        page.get_by_role("status").get_by_text("Respondido.").wait_for()
        assert page.get_by_text("como Lina Bo Duarte").is_visible()
        page.get_by_role("link", name="Voltar").click()
        page.get_by_role("button", name="Aceitar e usar").click()
        page.get_by_text("como simulação baseada em fontes públicas").wait_for()
        card = page.locator("article", has_text="Lina Bo Duarte")
        assert card.get_by_text("(simulação baseada em fontes públicas)").is_visible()


def test_with_the_keyboard_alone_one_creates_a_persona_and_enriches_it(browser, app, outside, simulator):
    with tab(browser, app) as ours:
        page = ours.go("/personas/nova")

        ours.tab_to("name")
        page.keyboard.type("Marta Reis")
        ours.tab_to("role")
        page.keyboard.type(f"compra o pão número {next(_numbers)} pelo teclado")
        page.keyboard.press("Enter")
        page.get_by_text("Marta Reis foi criada.").wait_for()
        ours.tab_to("Enriquecer com fontes públicas")
        page.keyboard.press("Enter")
        page.wait_for_url("**/pesquisas/*")
        page.get_by_role("status").get_by_text("Concluído: as três fontes responderam.").wait_for()
        ours.tab_to("Ver a persona")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Marta Reis").wait_for()


def test_without_scripts_it_works_too(browser, app, outside, simulator):
    with tab(browser, app, java_script_enabled=False) as ours:
        page = ours.page
        create(page)
        page.get_by_role("button", name="Enriquecer com fontes públicas").click()
        page.get_by_role("heading", name="Perfil", exact=True).wait_for()  # the page reloads itself
        ours.go("/especialistas")
        page.get_by_role("link", name="Experimentar Helena Prado").click()
        page.get_by_label("Sua pergunta").fill("Funciona sem JavaScript?")
        page.get_by_role("button", name="Perguntar").click()
        page.get_by_text("Respondido.").wait_for()


@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser, app, outside, simulator, look):
    outside.unsplash.always("quota")
    scheme = "dark" if look == "dark" else "light"
    with tab(browser, app, viewport={"width": 320, "height": 640}, color_scheme=scheme) as ours:
        page = ours.page
        persona = create(page)
        page.get_by_role("button", name="Enriquecer com fontes públicas").click()
        page.get_by_role("status").get_by_text("Parcial (2 de 3 fontes).").wait_for()
        research = path_of(page)
        ours.go("/especialistas/clonar")
        page.get_by_label("Nome").fill("Palavracompridasemespaçoalgumnomeio de Tal")
        page.get_by_label("Pelo que é conhecida").fill(f"escreve sobre {'pãezinhos' * 9} {next(_numbers)}")
        page.get_by_role("button", name="Pesquisar e preparar o rascunho").click()
        page.get_by_role("link", name="Revisar o rascunho").click()
        page.wait_for_url("**/clones/*")
        clone = path_of(page)
        outside.perplexity.always("slow-20")
        ours.go("/especialistas/clonar")
        page.get_by_label("Nome").fill("Oto")
        page.get_by_label("Pelo que é conhecida").fill(f"vende {next(_numbers)} fermentos")
        page.get_by_role("button", name="Pesquisar e preparar o rascunho").click()
        page.locator("#fonte-videos").get_by_text("concluído").wait_for()
        running = path_of(page)
        found: list[str] = []
        for path in (
            "/personas",
            persona,
            f"{persona}/editar",
            "/personas/nova",
            research,
            running,
            clone,
            clone.replace("/clones/", "/experimentar?clone="),
            "/especialistas",
            "/especialistas/clonar",
            f"/?persona={persona.rpartition('/')[2]}",
        ):
            ours.go(path)
            if look == "print":
                page.emulate_media(media="print")
            found += [f"{path}: {each}" for each in ours.violations()]
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 320, f"{path} is {width} px wide"
            page.emulate_media(media="screen")
        assert found == []
        ours.go(running)
        page.get_by_role("button", name="Parar").click()
        page.get_by_text("Você interrompeu a pesquisa.").wait_for()


def test_printing_shows_what_every_source_said(browser, app, outside, simulator):
    with tab(browser, app) as ours:
        page = ours.page
        create(page)
        page.get_by_role("button", name="Enriquecer com fontes públicas").click()
        page.get_by_role("status").get_by_text("Concluído").wait_for()
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        said = page.locator(".seat .prose")
        assert said.count() == 2
        for n in range(2):
            assert said.nth(n).is_visible()
