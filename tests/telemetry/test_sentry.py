from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from loguru import logger
from sentry_sdk.transport import Transport

from prodkit import Runtime, logs, telemetry

from .conftest import CANARY


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    def text(self) -> str:
        return "".join(envelope.serialize().decode("utf-8", "replace") for envelope in self.envelopes)

    def errors(self) -> list[Any]:
        return [event for envelope in self.envelopes if (event := envelope.get_event()) is not None]


def off() -> None:
    """Leave no client: a second `init` without an address would keep the integrations on.

    Starlette's then reads each form and leaves its files open.
    """
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def sent() -> Iterator[Kept]:
    transport = Kept()
    telemetry.sentry.install(
        "https://key@sentry.example/1", transport=transport, traces_sample_rate=1.0,
        enable_logs=True,
    )  # fmt: skip
    yield transport
    off()


def leaks() -> None:
    password = "hunter2-local"  # noqa: F841 - Sentry sends local variables
    header = {"Authorization": f"Bearer {CANARY}", "nested": [{"api_key": "hunter2-nested"}]}  # noqa: F841
    raise ValueError(f"postgresql://u:hunter2@h/d {CANARY}")


def test_no_hook_lets_a_secret_through(sent: Kept) -> None:
    with sentry_sdk.start_transaction(name=f"job {CANARY}", op="task") as transaction:
        sentry_sdk.add_breadcrumb(message=f"token=hunter2 {CANARY}", data={"password": "hunter2"})
        with sentry_sdk.start_span(op="db", name=f"select '{CANARY}'"):
            pass
        transaction.set_data("cookie", "hunter2")
        sentry_sdk.set_extra("config", {"db": {"password": "hunter2"}})
        sentry_sdk.set_user({"email": "ana@example.org", "id": "7"})
        logging.getLogger("shop").error("login failed for password=hunter2 %s", CANARY)
        logger.bind(api_key="hunter2").error(f"again {CANARY}")
        try:
            leaks()
        except ValueError:
            sentry_sdk.capture_exception()
    sentry_sdk.flush()
    text = sent.text()
    assert len(sent.errors()) >= 3
    assert CANARY not in text
    assert "ana@example.org" not in text
    events = repr(sent.errors())
    assert "hunter2-local" not in events
    assert "hunter2-nested" not in events
    assert "u:hunter2" not in events
    assert "ValueError" in events
    assert "leaks" in events  # the stack is still there


def test_one_report_for_one_error(sent: Kept) -> None:
    with logs.setup(stream=io.StringIO(), runtime=Runtime()):
        logging.getLogger("shop").error("the disk is full")
        assert len(sent.errors()) == 1
        logger.error("another")
        assert len(sent.errors()) == 2
        try:
            raise OSError("gone")
        except OSError:
            logging.getLogger("shop").exception("caught")
        assert len(sent.errors()) == 3


def test_hooks_of_the_service_run_first(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(off)
    transport = Kept()
    seen: list[str] = []

    def before_send(event: Any, hint: Any) -> Any:
        seen.append(event["message"])
        return None if event["message"] == "drop" else event

    telemetry.sentry.install("https://key@sentry.example/1", transport=transport, before_send=before_send)
    sentry_sdk.capture_message("drop")
    sentry_sdk.capture_message(f"keep {CANARY}")
    assert seen == ["drop", f"keep {CANARY}"]
    assert [event["message"] for event in transport.errors()] == ["keep ***"]
