from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from prodkit import Event, Runtime, env, logs
from prodkit.core.clock import LoopClock

Setup = Callable[..., Callable[[], list[dict[str, Any]]]]


@pytest.fixture
def setup() -> Iterator[Setup]:
    """logs.setup() into memory; what it returns reads the lines, each with a strict JSON parser."""
    active: list[logs.Logging] = []

    def make(**options: Any) -> Callable[[], list[dict[str, Any]]]:
        stream = io.StringIO()
        active.append(logs.setup(**{"stream": stream, "runtime": Runtime(), **options}))

        def refuse(constant: str) -> Any:
            raise AssertionError(f"{constant} is not JSON")

        def lines() -> list[dict[str, Any]]:
            text = stream.getvalue()
            assert not text or text.endswith("\n")
            return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]

        lines.text = stream.getvalue  # type: ignore[attr-defined]
        return lines

    yield make
    for each in active:
        each.close()


def test_one_line_of_json_an_event(setup: Setup) -> None:
    lines = setup(level="debug")
    with logs.context(request_id="r-1", user=7):
        logger.bind(items=3).info("hello {}", "ana")
    logs.bind(a=1).debug("x")
    first, second = lines()
    assert first["message"] == "hello ana"
    assert (first["level"], first["request_id"], first["user"], first["items"]) == ("INFO", "r-1", 7, 3)
    assert first["where"].startswith("test_configure.py:")
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert "request_id" not in second


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
HOSTILE = [
    float("nan"),
    float("inf"),
    "line\u2028separator\u2029",
    "lone \ud800 surrogate",
    {"\ud800": "\udfff"},
    {("tuple", "key"): 1, None: 2, 1.5: 3},
    CYCLE,
    Hostile(),
    {Hostile(): 1},
    2**64,
    -(2**70),
    10**6000,
    b"\xff\xfe",
    "a\nforged line",
    "\x1b[31mred",
    "\x00",
    {1, 2},
    object(),
    Exception("x"),
    datetime(2026, 1, 1),  # noqa: DTZ001
    Path("/x"),
    lambda: None,
    {"time": 1, "level": "mine", "message": "mine"},
    "{x} {k.__class__} </blue>",
    memoryview(b"abc"),
    range(3),
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_every_line_is_valid_json_and_none_is_lost(setup: Setup, value: Any) -> None:
    lines = setup()
    logger.bind(value=value, level="shadow").info("as a field")
    if isinstance(value, str):
        logger.info(value)
    assert lines()[0]["message"] == "as a field"
    assert lines()[0]["level"] == "INFO"
    assert lines()[0]["level_"] == "shadow"
    assert len(lines()) == 1 + isinstance(value, str)


def test_secrets_are_gone_from_messages_fields_and_tracebacks(setup: Setup) -> None:
    class Settings(env.Settings):
        api_key: env.Secret

    lines = setup(secrets=Settings.load({"API_KEY": "hunter2-registered"}))
    password = "hunter2-local"

    def fails() -> None:
        raise ValueError("postgresql://u:hunter2@h/d and hunter2-registered") from KeyError(
            "password=hunter2"
        )

    logger.info("user sent password=hunter2")
    logger.bind(headers={"Authorization": "hunter2"}, token="hunter2").warning("x")
    try:
        fails()
    except ValueError as error:
        error.add_note("token: hunter2")
        logger.exception("failed")
    assert password
    found = lines()
    assert len(found) == 3
    assert "hunter2" not in json.dumps(found)
    assert found[2]["error"] == "ValueError"
    assert "KeyError" in found[2]["traceback"]
    assert "in fails" in found[2]["traceback"]


def test_readable_lines_cannot_be_forged(setup: Setup) -> None:
    lines = setup(environment="development")
    logger.bind(who="a\nb").info("one\n21:00:00.000 ERROR forged \x1b[31m")
    text = lines.text()  # type: ignore[attr-defined]
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "one\\x0a21:00" in text
    assert "who=a\\x0ab" in text


def test_levels_follow_the_environment(setup: Setup) -> None:
    lines = setup(environment="production")
    logger.debug("no")
    logger.info("yes")
    assert [line["message"] for line in lines()] == ["yes"]
    with pytest.raises(ValueError, match="LOUD"):
        setup(level="loud")


def test_the_standard_library_and_warnings_arrive(setup: Setup) -> None:
    before = list(logging.getLogger().handlers), logging.getLogger("uvicorn.access").propagate
    lines = setup()
    access = logging.getLogger("uvicorn.access")
    access.info('%s - "%s %s" %d', "127.0.0.1", "GET", "/ws?access_token=hunter2", 200)
    logging.getLogger("some.library").warning("braces {} and %s", "args")
    logging.getLogger("x").error("bad args %d", "not a number")
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("x").exception("caught")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning, stacklevel=1)
    found = lines()
    assert "hunter2" not in json.dumps(found)
    assert found[0]["logger"] == "uvicorn.access"
    assert found[1]["message"] == "braces {} and args"
    assert found[1]["where"].startswith("test_configure.py:")
    assert "bad args" in found[2]["message"]
    assert found[3]["error"] == "OSError"
    assert "careful" in found[4]["message"]
    logs.setup(stream=io.StringIO()).close()
    assert (list(logging.getLogger().handlers), access.propagate) == before


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    name = "breaker.opened"
    level = "WARNING"
    breaker: str


def test_events_of_the_kit_become_lines(setup: Setup) -> None:
    runtime = Runtime()
    lines = setup(runtime=runtime)
    runtime.events.emit(BreakerOpened(breaker="perplexity"))
    (line,) = lines()
    assert (line["message"], line["level"], line["breaker"]) == ("breaker.opened", "WARNING", "perplexity")
    assert runtime.events.failures == 0
    logs.setup(stream=io.StringIO(), runtime=Runtime()).close()
    assert not runtime.events.listened(Event)


def test_uncaught_errors_of_threads_arrive(setup: Setup) -> None:
    lines = setup()

    def fails() -> None:
        raise ValueError("password=hunter2")

    thread = threading.Thread(target=fails, name="worker")
    thread.start()
    thread.join()
    (line,) = lines()
    assert (line["level"], line["thread"], line["error"]) == ("CRITICAL", "worker", "ValueError")
    assert "hunter2" not in json.dumps(line)


def test_other_sinks_stay_and_setup_replaces_itself(setup: Setup) -> None:
    others: list[Any] = []
    other = logger.add(lambda message: others.append(message.record["message"]), format="{message}")
    try:
        first = setup()
        second = setup()
        logger.info("once")
        assert (len(first()), len(second()), others) == (0, 1, ["once"])
    finally:
        logger.remove(other)


async def test_context_reaches_tasks_and_threads_but_not_siblings(setup: Setup) -> None:
    lines = setup()

    async def request(number: int) -> None:
        with logs.context(request_id=number):
            await asyncio.sleep(0)
            await asyncio.gather(asyncio.create_task(asyncio.to_thread(logger.info, str(number))))

    await asyncio.gather(*(request(number) for number in range(5)))
    assert all(line["request_id"] == int(line["message"]) for line in lines())
    assert len(lines()) == 5
    assert logs.current() == {}


class SteppedClock(LoopClock):
    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


def test_files_by_day_for_the_owner_kept_for_their_time(setup: Setup, tmp_path: Path) -> None:
    clock = SteppedClock(datetime(2026, 11, 23, 23, 59, tzinfo=UTC))
    keep = ["other.2020-01-01.log", "service.log", "service.2020-13-01.log", "service.2020-01-01.log.bak"]
    old = ["service.2026-11-16.log", "errors.2026-10-24.log", "service.2026-11-01.log.gz"]
    stay = ["service.2026-11-17.log", "errors.2026-10-25.log", "errors.2026-11-16.log"]
    for name in (*keep, *old, *stay):
        (tmp_path / name).write_text("x\n")
    setup(directory=tmp_path, runtime=Runtime(clock=clock))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*keep, *stay, "service.2026-11-23.log", "errors.2026-11-23.log"]
    )
    logger.info("an info, password=hunter2")
    logger.error("an error")
    clock.at += timedelta(minutes=2)
    logger.info("next day")
    service, errors = tmp_path / "service.2026-11-23.log", tmp_path / "errors.2026-11-23.log"
    assert [json.loads(line)["message"] for line in service.read_text().splitlines()] == [
        "an info, password=***",
        "an error",
    ]
    assert [json.loads(line)["message"] for line in errors.read_text().splitlines()] == ["an error"]
    assert json.loads((tmp_path / "service.2026-11-24.log").read_text())["message"] == "next day"
    assert service.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "service.2026-11-17.log").exists()


def test_a_directory_that_cannot_be_written_does_not_stop_the_service(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    lines = setup(directory=tmp_path / "file" / "logs")
    logger.info("one")
    logger.info("two")
    assert len(lines()) == 2
    assert capsys.readouterr().err.count("cannot write service") == 1


WRITER = """
import sys
from loguru import logger
from prodkit import logs
with logs.setup(directory=sys.argv[1], stream=open("/dev/null", "w")):
    for number in range(1000):
        logger.bind(writer=sys.argv[2], number=number, padding="x" * (number % 300)).info("line")
"""


@pytest.mark.slow
def test_several_processes_lose_and_tear_no_line(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WRITER, str(tmp_path), str(number)], env=environ
        )
        for number in range(4)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    seen = set()
    for path in tmp_path.glob("service.*.log"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            seen.add((entry["writer"], entry["number"]))
    assert len(seen) == 4000


def test_an_uncaught_exception_of_the_process_is_one_redacted_line() -> None:
    code = "from prodkit import logs; logs.setup(); raise ValueError('password=hunter2')"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert line["error"] == "ValueError"
    assert "hunter2" not in done.stderr.replace("raise ValueError('password=hunter2')", "")


def test_importing_it_loads_no_loguru() -> None:
    code = "import sys; from prodkit import logs; logs.redact('x'); assert 'loguru' not in sys.modules"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)


@pytest.mark.parametrize("name", ["production", "prod", "PRODUCTION", "staging", "stg", "qa", "live", ""])
def test_an_environment_that_is_no_developers_gets_json_from_info_on(name: str) -> None:
    stream = io.StringIO()
    with logs.setup(environment=name, stream=stream, runtime=Runtime()):
        logger.debug("left out")
        logger.info("shown")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["shown"]


@pytest.mark.parametrize("name", ["development", "dev", "Local", "test", "testing", "ci"])
def test_a_developers_environment_gets_text_from_debug_on(name: str) -> None:
    stream = io.StringIO()
    with logs.setup(environment=name, stream=stream, runtime=Runtime()):
        logger.debug("shown")
    assert "DEBUG" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize("secrets", ["hunter2-hunter2", b"hunter2-hunter2", 5, [1], [b"hunter2-hunter2"]])
def test_secrets_that_would_not_be_registered_are_refused_without_being_shown(secrets: Any) -> None:
    with pytest.raises(TypeError, match="secrets must be settings or a list of texts") as caught:
        logs.setup(secrets=secrets, stream=io.StringIO())
    assert "hunter2" not in str(caught.value)


def test_wrong_arguments_are_named_together() -> None:
    wrong: Any = {"environment": None, "level": 5, "service": 7, "queue_size": 0}
    with pytest.raises(ValueError, match=r"logs\.setup") as caught:
        logs.setup(stream=io.StringIO(), **wrong)
    assert all(name in str(caught.value) for name in wrong)


def test_a_wrong_argument_leaves_the_set_up_before_running(setup: Setup) -> None:
    lines = setup()
    wrong: list[Any] = [{"level": "LOUD"}, {"keep_days": 0}, {"secrets": "hunter2-hunter2"}]
    for options in wrong:
        with pytest.raises((TypeError, ValueError)):
            logs.setup(**options)
    logger.info("still here")
    assert [line["message"] for line in lines()] == ["still here"]


def test_an_error_that_cannot_be_raised_is_logged_redacted_and_told_to_the_hook_before(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    lines = setup(secrets=["unraisable-hunter2"])

    class Broken:
        def __del__(self) -> None:
            raise ValueError("at unraisable-hunter2")

    thing = Broken()
    del thing
    (line,) = lines()
    assert line["level"] == "ERROR"
    assert line["error.message"] == "at ***"
    assert "hunter2" not in json.dumps(line)
    assert len(told) == 1
