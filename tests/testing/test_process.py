"""The process of a simulator: what it prints, what it refuses, and how it ends."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from prodkit.testing.process import SimulatorProcess, ask
from prodkit.testing.sources import Simulator

pytestmark = pytest.mark.integration


def test_a_process_that_does_not_start_is_said_and_ended(capfd: pytest.CaptureFixture[str]) -> None:
    process = SimulatorProcess("prodkit.testing.no_such_module", {}, start_timeout=20)
    with pytest.raises(RuntimeError, match="did not start"):
        process.start()
    assert process.pid is None
    assert "no_such_module" in capfd.readouterr().err
    process.stop()  # again, without harm


def test_a_refused_command_carries_its_reason() -> None:
    with Simulator() as web:
        with pytest.raises(ValueError, match="refused nonsense: no such command"):
            ask(web.youtube.url, "nonsense", {})
        with pytest.raises(ValueError, match="refused script"):
            ask(web.youtube.url, "script", {"behaviours": ["nothing like this"]})
        assert web.pid is not None
    assert web.pid is None


def test_by_hand_it_prints_its_addresses_and_ends_with_sigterm() -> None:
    command = [sys.executable, "-m", "prodkit.testing.sources", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.count("http://127.0.0.1:") == 3
        process.terminate()
        assert process.wait(5) == 0


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async def taken() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        command = [sys.executable, "-m", "prodkit.testing.sources", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
        server.close()
        await server.wait_closed()
        assert process.returncode == 1
        assert b"address already in use" in said.lower()

    asyncio.run(taken())


def test_the_first_line_is_json_for_the_owner() -> None:
    with Simulator() as web:
        assert json.loads(json.dumps(web._listening))["pid"] == web.pid
