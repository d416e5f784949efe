"""The acceptance checks of the app by number, each with the tests that assert it; and those that no other file has."""

from __future__ import annotations

import ast
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import pytest

import advisory
import prodkit

ROOT: Final = Path(__file__).resolve().parents[3]
APP: Final = "examples/advisory/tests"
PATHS = os.pathsep.join(str(Path(each.__file__).parent.parent) for each in (advisory, prodkit))

LISTED: Final = """
1 a bare machine: two commands
    noxfile.py::fresh
    test_commands.py::test_the_demo_opens_signed_in_and_leaves_nothing_behind
2 a bad environment: all errors at once
    test_commands.py::test_every_bad_variable_is_told_at_once_in_portuguese_without_a_secret
3 no console error, no report of the policy, nothing from elsewhere
    test_browser.py::test_register_create_ask_watch_read_and_find_again
    test_pages.py::test_nothing_comes_from_elsewhere_and_nothing_is_inline
4 the keyboard alone
    test_browser.py::test_with_the_keyboard_alone_one_asks_and_stops
    test_browser.py::test_with_the_keyboard_alone_one_creates_and_exports
    test_research_browser.py::test_with_the_keyboard_alone_one_creates_a_persona_and_enriches_it
    test_chat_browser.py::test_with_the_keyboard_alone_one_talks_edits_and_stops
5 signing in says the same, and the sixth try waits
    test_accounts.py::test_unknown_address_and_wrong_password_read_the_same
    test_accounts.py::test_the_sixth_wrong_password_in_a_quarter_of_an_hour_has_to_wait
6 security headers on every response
    test_pages.py::test_every_response_has_the_security_headers
7 cookies
    test_accounts.py::test_the_session_cookie_is_for_the_browser_alone_and_changes_at_login
    test_accounts.py::test_registering_signs_in_and_signing_out_ends_the_session
    test_acceptance.py::test_in_production_the_cookie_belongs_to_the_host
8 forged requests
    test_accounts.py::test_a_request_that_is_not_from_our_pages_is_refused_in_portuguese
    test_accounts.py::test_the_token_of_another_session_is_worthless
9 eleven councils in an hour
    test_council.py::test_the_eleventh_council_in_an_hour_has_to_wait_and_others_need_not
10 twenty at once over two processes
    test_acceptance.py::test_twenty_questions_at_once_over_two_apps_are_ten
11 a council live
    test_council.py::test_a_whole_council_live_then_in_the_history
    test_browser.py::test_register_create_ask_watch_read_and_find_again
12 a reload in between
    test_browser.py::test_a_reload_in_between_loses_nothing_and_repeats_nothing
13 a stream from any number, with heart-beats
    test_council.py::test_a_stream_goes_on_where_it_was_cut
    tests/web/test_sse.py::test_silence_is_broken_every_ten_seconds_while_the_producer_works
    test_pages.py::test_every_response_has_the_security_headers
14 close the tab, come back later
    test_acceptance.py::test_a_council_nobody_watches_is_finished_in_the_history
15 stop
    test_council.py::test_stop_takes_effect_at_once_keeps_what_is_finished_and_calls_no_more
16 kill -9 of a worker
    test_worker.py::test_another_worker_goes_on_with_what_is_missing
    test_many_councils.py::test_workers_that_are_killed_lose_nothing_and_repeat_only_what_was_in_flight
    test_chat_kill.py::test_answers_cut_in_mid_sentence_are_completed_exactly_or_called_incomplete
    test_research_worker.py::test_researches_survive_killed_workers_and_pay_each_step_once
17 SIGTERM in a council
    test_acceptance.py::test_a_server_that_is_asked_to_leave_hands_its_council_over
    test_worker.py::test_another_worker_goes_on_with_what_is_missing
    test_worker.py::test_an_answer_is_handed_over_at_a_deploy
18 experts or the chairman fail
    test_council.py::test_one_expert_without_an_answer_gives_a_partial_result_with_the_reason
    test_council.py::test_without_a_quorum_there_is_no_synthesis_and_the_opinion_is_kept
    test_council.py::test_when_the_chairman_fails_the_opinions_stay_and_the_synthesis_can_be_had_later
19 Redis is killed
    test_outages.py::test_without_redis_everything_goes_on_and_limits_hold
20 PostgreSQL restarts
    test_outages.py::test_a_restart_of_postgres_loses_no_answer_and_asks_none_again
    test_outages.py::test_an_answer_that_streams_outlives_a_restart_of_postgres
    test_outages_browser.py::test_a_council_says_that_the_database_is_away_and_goes_on
    test_outages_browser.py::test_a_conversation_says_so_too_and_no_word_is_lost
    test_outages.py::test_without_postgres_a_page_says_so_and_when_to_come_back
21 a storm of 529
    test_ask.py::test_while_the_models_are_paused_nothing_is_asked_or_counted
    test_retries.py::test_a_card_says_that_an_attempt_waits_and_when_it_is_sent
    test_retries.py::test_a_council_that_an_outage_took_gives_its_use_back
    test_chat.py::test_the_fallback_model_is_shown
    test_chat.py::test_a_page_says_that_an_attempt_waits_live_and_after_a_reload
    test_chat.py::test_a_question_that_an_outage_took_gives_its_use_back_once
22 uploads
    test_experts.py::test_what_is_no_picture_is_refused_with_the_reason
    test_experts.py::test_what_hangs_behind_a_picture_is_not_kept
    test_experts.py::test_a_body_beyond_all_limits_is_refused_before_it_is_read
    test_experts.py::test_a_file_name_goes_nowhere
    test_experts.py::test_an_expert_with_a_photo_is_listed_and_the_photo_is_served_safely
23 hostile text
    test_council.py::test_a_hostile_question_and_a_hostile_answer_stay_texts
    test_experts.py::test_a_name_is_a_name_and_no_markup
    test_rules.py::test_markdown_of_a_model_runs_nothing_and_loads_nothing
    test_agreement.py::test_hostile_text_in_the_table_is_inert
    test_chat.py::test_hostile_text_is_inert
    test_research.py::test_what_a_source_says_is_data_and_links_are_only_web_addresses
24 backup, restore, purge
    tests/integration/backup/test_backup.py::test_dump_verify_restore
    tests/integration/backup/test_backup.py::test_a_damaged_file_never_verifies_nor_restores
    test_purge_store.py::test_what_is_deleted_for_90_days_is_removed_and_the_rest_stays
25 the image
    noxfile.py::image
    test_deploy.py::test_the_image_runs_unprivileged_and_needs_no_curl
    test_deploy.py::test_the_context_is_an_allow_list
"""


DEGRADED: Final = """
Redis down: nothing changes, health says so
    test_outages.py::test_without_redis_everything_goes_on_and_limits_hold
PostgreSQL restarts: "Salvando… reconectando", the cards stay and go on
    test_outages_browser.py::test_a_council_says_that_the_database_is_away_and_goes_on
    test_outages_browser.py::test_a_conversation_says_so_too_and_no_word_is_lost
    test_outages_browser.py::test_a_lost_connection_is_shown_after_three_seconds_and_forgotten_when_it_is_back
    test_outages.py::test_without_postgres_a_page_says_so_and_when_to_come_back
529: "nova tentativa 2 de 3", then the other model
    test_retries.py::test_a_card_says_that_an_attempt_waits_and_when_it_is_sent
    test_chat.py::test_a_page_says_that_an_attempt_waits_live_and_after_a_reload
    test_chat.py::test_the_fallback_model_is_shown
the breaker is open: the time of the next try, nothing is counted
    test_ask.py::test_while_the_models_are_paused_nothing_is_asked_or_counted
    test_chat.py::test_a_question_that_an_outage_took_gives_its_use_back_once
sources down: "parcial (2 de 3 fontes)", a button to complete it
    test_research.py::test_a_source_that_fails_leaves_a_partial_result_that_says_why
    test_research_browser.py::test_sources_are_watched_one_by_one_and_one_is_asked_again
    test_research_pauses.py::test_a_source_that_keeps_failing_is_paused_and_says_until_when
a worker is killed: "Retomando de onde parou…"
    test_worker.py::test_another_worker_goes_on_with_what_is_missing
    test_research_worker.py::test_another_worker_takes_over_within_seconds_and_repeats_only_what_was_in_flight
    test_fleet.py::test_a_worker_that_comes_and_goes_is_seen_by_the_web_process
a deploy: the stream comes back by itself
    test_acceptance.py::test_a_server_that_is_asked_to_leave_hands_its_council_over
    test_worker.py::test_an_answer_is_handed_over_at_a_deploy
the mail server is down: the mail arrives later
    test_recovery.py::test_an_outage_of_the_mail_server_loses_no_mail
    test_mail.py::test_a_dead_server_opens_the_breaker_which_the_health_report_shows
"""


def by_heading(listed: str) -> dict[str, list[str]]:
    """Headings and their tests."""
    found: dict[str, list[str]] = {}
    tests: list[str] = []
    for line in listed.strip().splitlines():
        if line.startswith(" "):
            tests.append(line.strip())
        else:
            tests = found[line] = []
    return found


@functools.cache
def functions_of(path: Path) -> set[str]:
    return {
        each.name
        for each in ast.parse(path.read_text()).body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


CHECKS: Final = by_heading(LISTED)


def test_the_list_has_every_check_once():
    assert [int(each.split()[0]) for each in CHECKS] == list(range(1, 26))


@pytest.mark.parametrize("heading", [*CHECKS, *by_heading(DEGRADED)])
def test_every_acceptance_check_and_degraded_mode_has_its_tests(heading):
    tests = {**CHECKS, **by_heading(DEGRADED)}[heading]
    assert tests
    for each in tests:
        file, _, name = each.partition("::")
        path = ROOT / (file if "/" in file or file == "noxfile.py" else f"{APP}/{file}")
        assert name in functions_of(path), each


@pytest.mark.integration
def test_in_production_the_cookie_belongs_to_the_host(make_settings, running):
    app = running(make_settings(environment="production")).start()
    try:
        with httpx.Client(base_url=app.url, timeout=20) as http:
            page = http.get("/cadastro")
            cookie = page.headers["set-cookie"]
            assert cookie.startswith("__Host-")
            for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
                assert flag in cookie
            assert (
                "strict-transport-security" not in page.headers
            )  # plain http: a proxy ends TLS, and says so
    finally:
        app.stop()


@pytest.mark.integration
def test_twenty_questions_at_once_over_two_apps_are_ten(app, running, ana, simulator):
    other = running(app.settings).start()
    try:
        experts = re.findall(r'name="experts" value="(\d+)"', ana.get("/").text)[:1]
        token, cookies = ana.token("/"), dict(ana.http.cookies)

        def ask(n: int) -> httpx.Response:
            data = {
                "question": f"Pergunta ao mesmo tempo, número {n}?",
                "experts": experts,
                "csrf_token": token,
            }
            url = (app.url, other.url)[n % 2]
            headers = {"accept": "text/html"}
            return httpx.post(f"{url}/conselhos", data=data, cookies=cookies, headers=headers, timeout=30)

        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(ask, range(20)))
        statuses = sorted(each.status_code for each in answers)
        assert statuses == [303] * 10 + [429] * 10
        assert all(int(each.headers["retry-after"]) >= 1 for each in answers if each.status_code == 429)
        for each in answers:
            if each.status_code == 303:
                ana.finished(each.headers["location"])
    finally:
        other.stop()


@pytest.mark.integration
def test_a_council_nobody_watches_is_finished_in_the_history(ana, simulator):
    path = ana.ask("Termina mesmo que eu feche a página?")
    deadline = time.monotonic() + 30
    while "Concluído" not in ana.get("/historico").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "Síntese pronta, com 3 especialistas." in ana.get(path).text


@pytest.mark.integration
@pytest.mark.slow
def test_a_server_that_is_asked_to_leave_hands_its_council_over(
    make_settings, running, a_visitor, simulator, tmp_path
):
    settings = make_settings()
    first = running(settings).start()  # makes the schema and the experts
    first.stop()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "DATABASE_URL": settings.database_url.reveal(),
        "REDIS_URL": settings.redis_url.reveal(),
        "ANTHROPIC_API_KEY": settings.anthropic_api_key.reveal(),
        "ANTHROPIC_BASE_URL": settings.anthropic_base_url,
        "SESSION_SECRET": settings.session_secret.reveal(),
        "ENVIRONMENT": "test",
        "PORT": str(port),
        "PYTHONPATH": PATHS,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }
    log = (tmp_path / "serve.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "advisory", "serve"], env=variables, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/healthz", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        simulator.reset()
        simulator.script("ok", "slow-60", "slow-60")
        with a_visitor(url) as ana:
            path = ana.ask()
            seen = ana.events(path, until=lambda step: step["kind"] == "seat.done")
            simulator.always("ok")
            # The stream is open when the signal comes: it ends, the process leaves, the run goes on elsewhere.
            with ThreadPoolExecutor(1) as thread:
                watching = thread.submit(ana.events, path, after=seen[-1]["seq"])
                time.sleep(0.5)
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                code = process.wait(15)
                took = time.monotonic() - began
                seen += watching.result(15)
            assert took < 10
            assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
            second = running(settings).start()
            try:
                ana.http.base_url = httpx.URL(second.url)  # a browser comes back to the same name
                rest = ana.events(path, after=seen[-1]["seq"])
            finally:
                second.stop()
        steps = [step["seq"] for step in seen + rest]
        assert steps == list(range(1, len(steps) + 1))
        assert rest[-1]["final"]
        assert "Síntese pronta, com 3 especialistas." in rest[-1]["message"]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()
        simulator.reset()
