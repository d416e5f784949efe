"""The simulator itself, driven with bare sockets and the real SDK."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import pytest

from prodkit.testing.anthropic import Behaviour, Simulator
from prodkit.testing.anthropic.answers import answer_function, numbered
from prodkit.testing.anthropic.reply import compose, events

pytestmark = pytest.mark.integration

MODEL = "claude-sonnet-5-5"
BODY: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "Vale a pena?"}],
}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    running.continuation("anchor")
    return running


def _post(
    simulator: Simulator, body: Any, path: str = "/v1/messages", key: str = "k"
) -> tuple[int, Any, Any]:
    parts = urlsplit(simulator.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    headers = {"x-api-key": key} if key else {}
    with contextlib.closing(connection):
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
        answer = connection.getresponse()
        told = answer.read()
        return answer.status, json.loads(told), answer.headers


def test_an_answer_has_the_form_of_the_api(simulator: Simulator) -> None:
    status, message, headers = _post(simulator, BODY)
    assert status == 200
    assert message["content"] == [{"type": "text", "text": numbered(40, "Vale a pena?")}]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["output_tokens"] > 0
    assert headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"max_tokens": None}, 400, "max_tokens"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "boss", "content": "x"}]}, 400, "role"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, 400, "non-empty"),
        ({"messages": [*BODY["messages"], {"role": "assistant", "content": "Sim, "}]}, 400, "prefill"),
        (
            {
                "messages": [
                    *BODY["messages"],
                    {
                        "role": "assistant",
                        "content": [{"type": "thinking", "thinking": "hm", "signature": ""}],
                    },
                    *BODY["messages"],
                ]
            },
            400,
            "signature",
        ),
    ],
)
def test_it_is_as_strict_as_the_api(
    simulator: Simulator, change: dict[str, Any], status: int, told: str
) -> None:
    got, body, _ = _post(simulator, {**BODY, **change})
    assert got == status
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert told in body["error"]["message"]


def test_keys_paths_and_models(simulator: Simulator) -> None:
    assert _post(simulator, BODY, key="")[0] == 401
    assert _post(simulator, BODY, path="/v1/nothing")[0] == 404
    assert _post(simulator, b"{not json")[0] == 400
    assert _post(simulator, BODY, path="/v1/messages/count_tokens")[1]["input_tokens"] > 0
    simulator.configure(MODEL, unknown=True)
    assert _post(simulator, BODY)[1]["error"]["type"] == "not_found_error"
    simulator.configure(MODEL, rejects=("thinking",))
    assert _post(simulator, {**BODY, "thinking": {}})[0] == 400
    assert _post(simulator, BODY)[0] == 200


def test_scripts_are_for_all_requests_or_for_those_of_a_model(simulator: Simulator) -> None:
    simulator.script("529", "503")
    simulator.script("402", model="claude-haiku-5-5")
    simulator.always("500", model="claude-opus-5-5")
    haiku, opus = {**BODY, "model": "claude-haiku-5-5"}, {**BODY, "model": "claude-opus-5-5"}
    assert _post(simulator, haiku)[0] == 402
    assert [_post(simulator, BODY)[0] for _ in range(3)] == [529, 503, 200]
    assert [_post(simulator, opus)[0] for _ in range(2)] == [500, 500]
    simulator.reset()
    assert _post(simulator, opus)[0] == 200
    assert simulator.counters.requests == 1


def test_a_rate_limit_answers_429_and_tells_its_headers(simulator: Simulator) -> None:
    simulator.limit(60, burst=2)
    statuses = [_post(simulator, BODY) for _ in range(3)]
    assert [status for status, _, _ in statuses] == [200, 200, 429]
    assert statuses[0][2]["anthropic-ratelimit-requests-limit"] == "60"
    assert statuses[2][2]["anthropic-ratelimit-requests-remaining"] == "0"
    assert float(statuses[2][2]["retry-after"]) >= 1


def test_requests_are_recorded(simulator: Simulator) -> None:
    _post(simulator, BODY, key="sk-7")
    _post(simulator, {**BODY, "messages": []})
    first, second = simulator.requests
    assert first.body == BODY
    assert first.headers["x-api-key"] == "sk-7"
    assert (first.status, first.outcome, second.status) == (200, "done", 400)
    assert first.finished_at is not None
    assert second.at >= first.finished_at >= first.at
    assert simulator.counters.by_status == {"200": 1, "400": 1}


async def test_a_client_that_hangs_up_is_counted(simulator: Simulator) -> None:
    simulator.always("hang")
    async with anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url, max_retries=0) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.messages.create(**BODY)
    seen = await asyncio.to_thread(simulator.wait_until_idle, sockets=0)
    assert (seen.aborted, seen.open_sockets, seen.peak_sockets) == (1, 0, 1)


async def test_the_sdk_reads_its_streams(simulator: Simulator) -> None:
    blocks = [
        {"type": "thinking", "thinking": "let me see", "signature": "signed"},
        {"type": "text", "text": "Sim."},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": [1, 2]}},
    ]
    simulator.always({"content": blocks})
    client = anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url)
    async with client, client.messages.stream(**BODY) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].input == {"a": [1, 2]}
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize("name", ["words", "echo", "council"])
def test_answers_are_the_same_each_time(name: str) -> None:
    say = answer_function(name)
    assert say(BODY) == say(BODY)


def test_the_council_speaks_in_character() -> None:
    say = answer_function("council")
    ana = say({**BODY, "system": "Você é Ana Prado, diretora financeira. Cuide do caixa."})
    rui = say({**BODY, "system": "Você é Rui Sá, advogado. Cuide do risco legal."})
    chair = say({**BODY, "system": "Você é o presidente do conselho. Sintetize as respostas."})
    assert isinstance(ana, str)
    assert "Ana Prado" in ana
    assert "Vale a pena?" in ana
    assert ana != rui
    assert isinstance(chair, str)
    assert chair.startswith("## Síntese")


def test_an_answer_function_of_your_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_answers.py").write_text(
        "def shout(body):\n    return body['messages'][-1]['content'].upper()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with Simulator(answers="my_answers:shout") as simulator:
        assert _post(simulator, BODY)[1]["content"][0]["text"] == "VALE A PENA?"


@pytest.mark.parametrize("continuation", ["exact", "anchor", "restart"])
def test_a_cut_answer_is_continued(continuation: str) -> None:
    say = answer_function("words")
    whole = str(say(BODY))
    said, rest = whole[:100], whole[100:]
    asked = [
        *BODY["messages"],
        {"role": "assistant", "content": said},
        {"role": "user", "content": f"Repeat <w>{said[-20:]}</w> and go on."},
    ]
    reply = compose({**BODY, "messages": asked}, Behaviour(), say, number=1, continuation=continuation)
    told = reply.content[0]["text"]
    assert told == {"exact": rest, "anchor": said[-20:] + rest, "restart": whole}[continuation]


def test_events_are_in_the_order_of_the_api() -> None:
    reply = compose(BODY, Behaviour(words=3), answer_function("words"), number=1, continuation="exact")
    assert [event for event, _ in events(reply)] == [
        "message_start", "content_block_start", "ping", "content_block_delta", "content_block_delta",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", ["nonsense", "status", "status-200", {"kind": "x"}, {"kind": "status", "status": 7}]
)
def test_unknown_behaviours_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError):
        Behaviour.of(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"answers": "nobody"},
        {"answers": "json:nothing"},
        {"delay": -1},
        {"continuation": "x"},
        {"port": 70000},
    ],
)
def test_wrong_options_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Simulator(**wrong)


def test_names_and_fields_say_the_same() -> None:
    assert Behaviour.of("ra-120") == Behaviour(kind="status", status=429, retry_after="120")
    assert Behaviour.of("miderr-api_error") == Behaviour(kind="sse_error", error_type="api_error")
    for name in ("ok", "html502", "err1", "slow-0.5", "words-7", "mid-clean", "midclean", "comment_only"):
        assert Behaviour.of(Behaviour.of(name).as_json()) == Behaviour.of(name)


# -------------------------------------------------------------------- process


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not _alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_it_ends_when_it_is_stopped() -> None:
    simulator = Simulator().start()
    pid = simulator.pid
    assert pid is not None
    with pytest.raises(RuntimeError, match="already running"):
        simulator.start()
    simulator.stop()
    simulator.stop()
    assert _gone_within(pid, 0.5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("forks", [False, True])
def test_it_ends_with_the_process_that_started_it(number: signal.Signals, forks: bool) -> None:
    """Also when a fork of that process holds its end of the pipe open."""
    code = (
        "import os, time\n"
        "from prodkit.testing.anthropic import Simulator\n"
        "simulator = Simulator().start()\n"
        f"child = os.fork() if {forks} else 1\n"
        "if child == 0:\n"
        "    time.sleep(20)\n"
        "    os._exit(0)\n"
        "print(simulator.pid, child, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, child = map(int, parent.stdout.readline().split())
    assert _alive(pid)
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    try:
        assert _gone_within(pid, 2)
    finally:
        if forks:
            os.kill(child, signal.SIGKILL)


def test_a_taken_port_is_one_line(simulator: Simulator, capfd: Any) -> None:
    port = urlsplit(simulator.url).port
    assert port is not None
    with pytest.raises(RuntimeError, match="did not start"):
        Simulator(port=port).start()
    said = capfd.readouterr().err.strip()
    assert "in use" in said
    assert "\n" not in said


def test_by_hand() -> None:
    command = [
        sys.executable,
        "-m",
        "prodkit.testing.anthropic",
        "--port",
        "0",
        "--delay",
        "0",
        "--always",
        "529",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[4]
        with pytest.raises(anthropic.APIStatusError) as raised:
            anthropic.Anthropic(api_key="k", base_url=url, max_retries=0).messages.create(**BODY)
        assert raised.value.status_code == 529
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        process.stdout.close()
