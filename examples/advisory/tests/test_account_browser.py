"""Account, recovery and fault panel in a real browser: axe in three modes, small screens, no scripts."""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from advisory.mail import Outbox
from advisory.tests.browsing import Tab, chromium, tab
from advisory.tests.test_commands import demo
from advisory.tests.test_recovery import NEW, link_to
from prodkit import env

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
MODES = ["light", "dark", "print", "narrow"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def outbox(tmp_path_factory):
    return Outbox(tmp_path_factory.mktemp("caixa"), sender="a@b.example")


@pytest.fixture(scope="module")
def app(make_settings, running, outbox):
    made = running(
        make_settings(
            mail_url=env.Secret(f"file://{outbox.directory}"), public_url="https://conselho.example"
        )
    ).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def theatre(tmp_path_factory):
    """The demo, in processes of its own."""
    with demo(tmp_path_factory.mktemp("demo"), signal.SIGTERM) as url:
        yield SimpleNamespace(url=url.rstrip("/"))


def options_of(mode: str) -> dict:
    if mode == "narrow":
        return {"viewport": {"width": 320, "height": 640}}
    return {} if mode == "print" else {"color_scheme": mode}


def look(ours: Tab, mode: str, path: str) -> None:
    if path:
        ours.go(path)
    if mode == "print":
        ours.page.emulate_media(media="print")
    assert ours.violations() == [], path
    width = ours.page.evaluate("document.documentElement.scrollWidth")
    assert width <= ours.page.viewport_size["width"], f"{path} is {width} px wide"
    ours.page.emulate_media(media="screen")


@contextmanager
def visiting(browser, url: str, **options):
    """A tab of the demo, which signs its first visit in."""
    context = browser.new_context(locale="pt-BR", **{"viewport": {"width": 1000, "height": 800}, **options})
    context.set_default_timeout(20_000)
    try:
        found = Tab(context.new_page(), url)
        found.go("/")
        yield found
        if options.get("java_script_enabled", True):
            found.check()
    finally:
        context.close()


@pytest.mark.parametrize("mode", MODES)
def test_axe_finds_nothing_on_account_expert_and_recovery(browser, app, outbox, mode):
    with tab(browser, app, **options_of(mode)) as ours:
        page = ours.page
        look(ours, mode, "/conta")
        page.get_by_label("Senha atual").fill("nada disso")
        page.get_by_label("Nova senha").fill("curta")
        page.get_by_role("button", name="Mudar a senha").click()
        page.get_by_role("alert").wait_for()
        ours.problems.clear()  # Chromium reports each answer of 422 on the console
        look(ours, mode, "")
        email = re.search(r"navegador\d+@exemplo\.com\.br", page.content())[0]
        ours.go("/especialistas/novo")
        page.get_by_label("Nome").fill("Clara Nunes")
        page.get_by_label("Papel").fill("engenheira de produção")
        page.get_by_role("button", name="Criar especialista").click()
        page.get_by_role("link", name=re.compile("Editar.*Clara")).click()
        look(ours, mode, "")
        page.get_by_role("button", name="Sair").click()
        look(ours, mode, "/")  # with the example of a council
        look(ours, mode, "/entrar")
        page.get_by_role("link", name="Esqueci a minha senha").click()
        look(ours, mode, "")
        page.get_by_label("E-mail").fill(email)
        page.get_by_role("button", name="Enviar o link").click()
        page.get_by_text("o link chega em instantes").wait_for()
        look(ours, mode, "")
        ours.go(link_to(outbox, email))
        look(ours, mode, "")
        page.get_by_label("Nova senha").fill(NEW)
        page.get_by_role("button", name="Trocar a senha").click()
        page.get_by_text("Senha trocada").wait_for()
        look(ours, mode, "/saude")


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_question_leads_back_to_its_composer(browser, app, mode):
    with tab(browser, app, **options_of(mode)) as ours:
        page = ours.go("/")
        page.locator(".composer [name=csrf_token]").evaluate("each => { each.value = 'x' }")
        page.get_by_label("Sua pergunta").fill("Esta pergunta se perde?")
        page.get_by_label("Revisão cruzada").check()
        page.get_by_role("button", name="Perguntar ao conselho").click()
        page.get_by_role("heading", name="Pedido recusado").wait_for()
        ours.problems.clear()  # Chromium reports each answer of 403 on the console
        assert page.get_by_label("Sua pergunta não se perdeu").input_value() == "Esta pergunta se perde?"
        look(ours, mode, "")
        page.get_by_role("button", name="Voltar à pergunta").click()
        page.get_by_text("Confira e envie").wait_for()
        assert page.get_by_label("Sua pergunta").input_value() == "Esta pergunta se perde?"
        assert page.get_by_label("Revisão cruzada").is_checked()


def test_the_password_is_recovered_without_scripts_and_with_the_keyboard(browser, app, outbox):
    with tab(browser, app, java_script_enabled=False) as ours:
        page = ours.page
        email = re.search(r"navegador\d+@exemplo\.com\.br", ours.go("/conta").content())[0]
        ours.go("/recuperar")
        page.get_by_label("E-mail").focus()
        page.keyboard.type(email)
        page.keyboard.press("Enter")
        page.get_by_text("o link chega em instantes").wait_for()
        ours.go(link_to(outbox, email))
        assert "codigo" not in page.url
        page.get_by_label("Nova senha").focus()
        page.keyboard.type(NEW)
        page.keyboard.press("Enter")
        page.get_by_text("Senha trocada").wait_for()
        assert page.url.endswith("/entrar")


@pytest.mark.parametrize("mode", MODES)
def test_axe_finds_nothing_on_the_fault_panel_and_the_console(browser, theatre, mode):
    with visiting(browser, theatre.url, **options_of(mode)) as ours:
        page = ours.page
        look(ours, mode, "/falhas")
        page.get_by_role("button", name="Começar um conselho").click()
        page.get_by_text("O conselho começou").wait_for()
        page.get_by_role("button", name="Deixar a rede lenta").click()
        page.get_by_text("em curso").wait_for()
        look(ours, mode, "")
        page.locator(".console").scroll_into_view_if_needed()  # it is loaded when it comes into view
        page.frame_locator(".console").get_by_role("heading", name="Console").wait_for()
        look(ours, mode, "/demo/caixa")
        look(ours, mode, "/console")


def test_the_fault_panel_works_without_scripts(browser, theatre):
    with visiting(browser, theatre.url, java_script_enabled=False) as ours:
        page = ours.go("/falhas")
        page.get_by_role("button", name="Reiniciar o PostgreSQL").click()
        page.get_by_text("Feito: Reiniciar o PostgreSQL.").wait_for()
        page.locator("#agora").get_by_text("Reiniciar o PostgreSQL").wait_for()  # the page reloads itself
