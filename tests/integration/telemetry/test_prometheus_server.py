"""A real Prometheus (Debian's package) scrapes the exporter and answers queries with its values."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from prodkit import Runtime, telemetry
from prodkit.core.events import Event, Metric
from prodkit.telemetry import board

pytestmark = pytest.mark.integration
PROMETHEUS = shutil.which("prometheus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped(Event):
    name = "test.scraped"
    level = "DEBUG"
    metric = Metric("test_scrapes", labels=("what",), help="Events of this test.")
    what: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def scraped() -> Iterator[tuple[Runtime, int]]:
    runtime = Runtime()
    exporter = telemetry.prometheus.install(runtime=runtime, registry=CollectorRegistry())

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.text()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield runtime, server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()
    exporter.close()


@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="needs Debian's package prometheus")
def test_a_real_prometheus_reads_the_metrics(scraped: tuple[Runtime, int], tmp_path: Path) -> None:
    runtime, target = scraped
    runtime.events.emit(Scraped(what="import"))
    runtime.events.emit(Scraped(what="import"))
    (tmp_path / "rules.yml").write_text(board.alert_rules())
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nrule_files: [rules.yml]\nscrape_configs:\n"
        f"  - job_name: service\n    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [
                str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            found = ask(port, 'prodkit_test_scrapes_total{what="import"}')
        finally:
            server.terminate()
            server.wait(timeout=20)
    assert found, (tmp_path / "log").read_text()[-2000:]
    assert found[0]["metric"]["job"] == "service"
    assert found[0]["value"][1] == "2"


def ask(port: int, query: str) -> list[dict[str, dict[str, str]]]:
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    until = time.monotonic() + 40
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = json.loads(answer.read())["data"]["result"]
        except OSError:
            found = []
        if found:
            return list(found)
        time.sleep(0.3)
    return []
