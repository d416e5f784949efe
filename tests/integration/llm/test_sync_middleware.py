"""The middleware under the synchronous ``Anthropic``."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest

from prodkit import Deadline, DeadlineExceededError, LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
FAULTS = ["529", "html200", "err200", "rst0", "err1", "miderr", "midrst", "mideof", "midclean", "badsse", "stall",
          "pingstall", "pingonly"]  # fmt: skip


def _made(simulator: Simulator, log: Any, **options: Any) -> anthropic.Anthropic:
    guard = llm.ResilienceMiddleware(
        **{
            "backoff": 0.01,
            "stall_timeout": 0.2,
            "first_content_timeout": 0.3,
            "runtime": log.runtime,
            **options,
        }
    )
    return anthropic.Anthropic(api_key="k", base_url=simulator.url, max_retries=0, middleware=[guard])


@pytest.mark.parametrize("fault", FAULTS)
def test_streams_are_continued(simulator: Simulator, log: Any, params: dict[str, Any], fault: str) -> None:
    """The limit that the fault runs into is the nearer one; a read that was given up ends by the longer."""
    stalls = fault in ("stall", "pingstall")
    limits = {"stall_timeout": 1.5 if stalls else 3, "first_content_timeout": 3 if stalls else 1.5}
    with _made(simulator, log, **limits) as client:
        whole = client.messages.create(model=SONNET, **params).content[0].text  # type: ignore[union-attr]
        simulator.script(fault)
        with client.messages.stream(model=SONNET, **params) as stream:
            got = "".join(stream.text_stream)
            message = stream.get_final_message()
    assert got == whole == message.content[0].text  # type: ignore[union-attr]
    assert [attempt.outcome for attempt in log.attempts][-1] == "ok"
    assert len(log.attempts) == 3


def test_calls_are_retried_fall_back_and_raise_the_sdks_errors(
    simulator: Simulator, log: Any, params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    with _made(simulator, log, timeout=2) as client:
        simulator.script("529", "500")
        assert client.messages.create(model=SONNET, **params).model == SONNET
        simulator.always("529", model=SONNET)
        assert client.messages.create(model=SONNET, **params).model == HAIKU
        simulator.always("400")
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(model=HAIKU, **params)
        simulator.always("hang")
        begun = running_time()
        with pytest.raises(LlmError), Deadline.after(0.3):
            client.messages.create(model=HAIKU, **params)
        with pytest.raises(DeadlineExceededError), Deadline.after(0.3):
            client.messages.create(model=HAIKU, **params)
        assert running_time() - begun < 1.0
        assert client.models.list().data, "other calls pass"


def test_threads_share_breakers_and_do_not_block_each_other(
    simulator: Simulator, log: Any, params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    simulator.always({"seconds": 0.3})
    with _made(simulator, log) as client, ThreadPoolExecutor(20) as threads:
        begun = running_time()
        answers = list(threads.map(lambda _: client.messages.create(model=SONNET, **params), range(20)))
        assert len(answers) == 20
        assert running_time() - begun < 2.5
        simulator.always("529")
        for _ in range(2):
            with pytest.raises(anthropic.APIStatusError):
                client.messages.create(model=SONNET, **params)
        with pytest.raises(llm.LlmCircuitOpenError):
            client.messages.create(model=SONNET, **params)


def test_a_stream_that_is_left_closes_its_connection(
    simulator: Simulator, log: Any, params: dict[str, Any]
) -> None:
    simulator.always({"delay": 0.02})
    with _made(simulator, log) as client:
        with client.messages.stream(model=SONNET, **params) as stream:
            next(iter(stream.text_stream))
        simulator.wait_until_idle()
    assert threading.active_count() < 200
