from collections.abc import Iterator
from typing import Any

import pytest

from prodkit import Runtime, llm
from prodkit.testing.anthropic import Simulator

PARAMS: dict[str, Any] = {"max_tokens": 400, "messages": [{"role": "user", "content": "Vale a pena?"}]}


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.reset()
    running_simulator.continuation("anchor")
    return running_simulator


@pytest.fixture
def params() -> dict[str, Any]:
    return {**PARAMS}


class Log:
    """The attempts that were emitted as events, to be compared with what the server saw."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.attempts: list[llm.LlmAttempt] = []
        self.finished: list[llm.LlmFinished] = []
        self.runtime.events.subscribe(self.attempts.append, llm.LlmAttempt)
        self.runtime.events.subscribe(self.finished.append, llm.LlmFinished)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def make(simulator: Simulator, log: Log) -> Any:
    """Makes a client of the simulator with short waits."""

    def made(**options: Any) -> llm.Client:
        options = {"backoff": 0.01, "runtime": log.runtime, **options}
        return llm.Client("sk-test", base_url=simulator.url, **options)

    return made
