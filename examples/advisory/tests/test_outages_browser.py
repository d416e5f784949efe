"""An open page says that the database or the connection is away, keeps what it has, and goes on by itself."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from advisory.tests.browsing import tab
from prodkit import env
from prodkit.testing import Proxy
from prodkit.testing.servers import Postgres

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
AWAY = "Salvando… reconectando"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    # On a directory of its own PostgreSQL is durable: what was committed before a kill is there after it.
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def fragile(database, make_settings, running):
    app = running(make_settings(database_url=env.PostgresUrl(database.create_database("fragile")))).start()
    yield app
    app.stop()


def ask_the_council(page) -> None:
    page.get_by_label("Sua pergunta").fill("O que acontece se o banco de dados sumir?")
    page.get_by_role("button", name="Perguntar ao conselho").click()
    page.wait_for_url("**/conselhos/*")


def ask_one(page) -> None:
    page.get_by_role("link", name="Conversas").click()
    page.get_by_role("link", name="Nova conversa").click()
    page.get_by_label("Sua pergunta").fill("O que acontece se o banco de dados sumir?")
    page.get_by_role("button", name="Começar a conversa").click()
    page.wait_for_url(re.compile(r"/conversas/[0-9a-f-]{36}"))


def appears_and_goes(page, within: float, heal) -> None:
    """The note is there within so many seconds, and gone after `heal`."""
    began = time.monotonic()
    page.get_by_text(AWAY).wait_for(timeout=15_000)
    print(f"shown after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < within
    assert page.locator(".away").get_attribute("role") == "status"
    heal()
    page.get_by_text(AWAY).wait_for(state="detached", timeout=40_000)


def test_a_council_says_that_the_database_is_away_and_goes_on(browser, fragile, database, simulator):
    simulator.reset()
    simulator.script("ok", "slow-6", "slow-6", "slow-6", "slow-6")
    with tab(browser, fragile) as ours:
        page = ours.page
        ask_the_council(page)
        page.locator(".seat.done").first.wait_for()
        database.kill()
        appears_and_goes(page, 10, database.start)
        assert page.locator(".seat.done").count() >= 1
        page.get_by_text("Síntese pronta").wait_for(timeout=60_000)
        assert page.get_by_text(AWAY).count() == 0


def test_a_conversation_says_so_too_and_no_word_is_lost(browser, fragile, database, simulator):
    simulator.reset()
    simulator.always({"kind": "ok", "delay": 0.12})
    with tab(browser, fragile) as ours:
        page = ours.page
        ask_one(page)
        page.locator("#resposta-viva").get_by_text("eu começaria").wait_for()
        database.kill()
        appears_and_goes(page, 10, database.start)
        page.get_by_text("Resposta completa.").wait_for(timeout=60_000)
        assert page.locator("#texto-1").inner_text().count("eu começaria") == 1
        assert page.get_by_text(AWAY).count() == 0


@pytest.mark.parametrize("ask", [ask_the_council, ask_one])
def test_a_lost_connection_is_shown_after_three_seconds_and_forgotten_when_it_is_back(
    browser, fragile, simulator, ask
):
    simulator.reset()
    simulator.always("slow-8")
    with Proxy(fragile.url.removeprefix("http://")) as line:
        through = SimpleNamespace(url=line.url_for(fragile.url))
        with tab(browser, through) as ours:
            page = ours.page
            ask(page)
            page.wait_for_timeout(1000)
            line.drop()  # a moment, as at a deploy: not worth a word
            page.wait_for_timeout(2500)
            assert page.get_by_text(AWAY).count() == 0
            line.refuse()
            line.drop()
            appears_and_goes(page, 10, line.heal)
            page.get_by_text(re.compile("Síntese pronta|Resposta completa")).first.wait_for(timeout=60_000)
            ours.problems.clear()  # the browser notes each request that the lost connection took


def test_a_browser_that_is_offline_says_so(browser, fragile, simulator):
    simulator.reset()
    simulator.always("slow-8")
    with tab(browser, fragile) as ours:
        page = ours.page
        ask_one(page)
        page.context.set_offline(True)
        appears_and_goes(page, 10, lambda: page.context.set_offline(False))
        page.get_by_text("Resposta completa.").wait_for(timeout=60_000)
        ours.problems.clear()


def test_a_session_that_ended_meanwhile_is_shown_with_the_way_back(browser, fragile, simulator):
    simulator.reset()
    simulator.always("slow-8")
    with tab(browser, fragile) as ours:
        page = ours.page
        ask_one(page)
        second = page.context.new_page()
        second.goto(page.url)
        second.get_by_role("button", name="Sair").click()
        second.get_by_role("link", name="Entrar").first.wait_for()
        page.get_by_text("Recarregue para continuar").wait_for(timeout=30_000)
        ours.problems.clear()  # 401s
