"""The fault trace from the command line: built in, from a recording, on configurations of one's own."""

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

import prodkit as pk
from prodkit.cli import main
from prodkit.cli.replay import chart, recommended, table
from prodkit.core.recording import Recorded, Recorder
from prodkit.testing import virtual_time
from prodkit.testing.trace import Phase, run_trace
from prodkit.testing.trace_recording import trace_from

SHORT = (
    Phase("normal", 3),
    Phase("outage", 3, "refused"),
    Phase("brownout", 3, "slow"),
    Phase("throttle", 3, "throttled"),
    Phase("partial", 3, "failing"),
    Phase("after", 3),
)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def record(at: float, event: str, **fields: object) -> Recorded:
    return Recorded(at, NOW, event, "INFO", fields)


def test_table_and_timeline() -> None:
    report = run_trace(recommended, trace=SHORT)
    text = table([report], SHORT)
    assert "| outage | refused | 3 | 0.0 |" in text
    assert "goodput" in text
    assert sum(each.answered + each.refused + each.failed for each in report.seconds) == sum(
        report[phase.name].calls for phase in SHORT
    )
    outage = report.seconds[3:6]
    assert sum(each.refused for each in outage) > sum(each.failed for each in outage)
    picture = ElementTree.fromstring(chart(report, SHORT).svg())
    words = "".join(picture.itertext())
    for word in ("answered", "refused", "failed", "wasted", "outage: refused"):
        assert word in words


def test_a_recording_becomes_a_trace() -> None:
    records = [
        record(100, "retry.scheduled", error="ConnectionRefusedError", call="x"),
        record(101, "breaker.opened", breaker="b", hold=30),
        record(120, "breaker.closed", breaker="b"),
        record(200, "gate.closed", gate="g", seconds=4.0),
        record(300, "retry.scheduled", error="CallTimeoutError", call="x"),
        record(303, "retry.gave_up", error="CallTimeoutError", call="x"),
        record(304, "retry.gave_up", error="CircuitOpenError", call="x"),
        record(400, "cache.hit"),
        record(401, "retry.scheduled", error="UpstreamError", call="x"),
    ]
    phases = trace_from(records)
    assert [phase.fault for phase in phases if phase.fault != "none"] == [
        "refused",
        "throttled",
        "slow",
        "failing",
    ]
    assert phases[0] == Phase("normal", 10)
    assert phases[1] == Phase("refused 1", 21, "refused")
    assert [phase.seconds for phase in phases if phase.fault == "throttled"] == [5]
    assert [phase.seconds for phase in phases if phase.fault == "slow"] == [4]
    assert max(phase.seconds for phase in phases if phase.fault == "none") == 60
    assert [phase.fault for phase in trace_from(records, name="g") if phase.fault != "none"] == ["throttled"]
    with pytest.raises(ValueError, match="holds no fault"):
        trace_from([record(1, "cache.hit")])


def test_the_number_of_calls_follows_the_recording() -> None:
    records = [record(at / 10, "llm.finished") for at in range(1000)]  # 10 a second
    records += [record(50 + at / 20, "llm.finished") for at in range(200)]  # and 20 more for 10 s
    records += [record(50 + at, "retry.gave_up", error="ReadTimeout") for at in range(10)]
    phases = trace_from(sorted(records, key=lambda each: each.at))
    assert [(phase.name, phase.seconds, phase.load) for phase in phases] == [
        ("normal", 10, 0.83), ("slow 1", 10, 2.5), ("after", 20, 0.83),
    ]  # fmt: skip
    report = run_trace(recommended, trace=phases)
    assert report["slow 1"].calls == pytest.approx(2500, rel=0.1)
    assert report["normal"].calls == pytest.approx(830, rel=0.1)
    assert [phase.load for phase in trace_from(records[-10:])] == [1, 1, 1]
    with pytest.raises(ValueError, match=r"no event 'web\.finished'"):
        trace_from(records, calls="web.finished")


def test_a_phase_without_calls_is_passed_over() -> None:
    report = run_trace(recommended, trace=(Phase("a", 2), Phase("quiet", 3, load=0), Phase("b", 2)))
    assert [report[name].calls for name in ("a", "quiet", "b")] == [
        pytest.approx(200, rel=0.3),
        1,
        pytest.approx(200, rel=0.3),
    ]


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pk.Runtime()
    path = tmp_path / "events.jsonl"

    async def outage() -> None:
        breaker = pk.CircuitBreaker("b", failures=3, open_for=2, runtime=runtime)

        async def down() -> None:
            raise ConnectionRefusedError

        for _ in range(4):
            with pytest.raises((ConnectionRefusedError, pk.CircuitOpenError)):
                await pk.Retry(2, runtime=runtime).run(breaker.run, down)

    with Recorder(runtime, path):
        virtual_time(outage())
    path.write_text(path.read_text() + "cut by a cr\n")
    picture = tmp_path / "trace.svg"
    assert main(["replay", str(path), "--svg", str(picture)]) == 0
    printed = capsys.readouterr()
    assert "refused 1" in printed.out
    assert "1 lines of" in printed.err
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")

    (tmp_path / "policies.toml").write_text(
        "[policies.search]\nretry = 2\nbreaker = { failures = 5, open_for = 1 }\n"
    )
    assert main(["replay", str(path), "--policies", str(tmp_path / "policies.toml"), "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["goodput"] < 1

    (tmp_path / "mine_for_replay.py").write_text(
        "import prodkit as pk\n"
        "def make(runtime):\n    return pk.Timeout(1)\n"
        "policy = pk.Timeout(1)\n"
        "def stack(client, upstream):\n    return lambda: upstream.request(client)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("make", "policy", "stack"):
        assert main(["replay", str(path), "--stack", f"mine_for_replay:{name}"]) == 0
    capsys.readouterr()
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "wrong.toml").write_text('[search]\nretry = "x"\n')
    (tmp_path / "empty.toml").write_text("")
    for wrong, sentence in (
        ([str(tmp_path / "absent")], "no trace"),
        ([str(path), "--stack", "mine_for_replay"], "MODULE:NAME"),
        ([str(path), "--stack", "mine_for_replay:absent"], "no attribute"),
        ([str(path), "--policies", "policies.toml", "--pipeline", "x"], "no pipeline 'x'"),
        ([str(path), "--policies", "policies.toml", "--stack", "a:b"], "not both"),
        ([str(path), "--policies", "noise"], "noise is no TOML file"),
        (["noise"], "holds no fault"),
        ([str(path), "--policies", "wrong.toml"], "attempts must be an integer"),
        ([str(path), "--policies", "empty.toml"], "holds no pipeline"),
        ([str(path), "--svg", "absent/trace.svg"], "no directory absent"),
        ([str(path), "--svg", "."], "Is a directory"),
    ):
        assert main(["replay", *wrong]) == 2
        assert sentence in capsys.readouterr().err
