"""Pictures of pipelines: well-formed, complete, and with the colours of the states."""

from xml.etree import ElementTree

from prodkit import CircuitBreaker, Retry, Timeout
from prodkit.core.timeline import COLOURS
from prodkit.policies.picture import mermaid, svg


def test_the_flowchart_names_every_policy_and_quotes_nothing_away() -> None:
    chart = mermaid({'a "b" [c]': [Retry(3), Timeout(5)], "empty": []})
    assert chart.splitlines()[:2] == ["flowchart LR", "  subgraph p0[\"a 'b' (c)\"]"]
    assert "    p0_0 --> p0_1 --> p0_call" in chart
    assert chart.count("subgraph") == chart.count("  end") == 2
    assert "p1_call -->" not in chart


def test_the_svg_is_well_formed_and_shows_the_state_of_breakers() -> None:
    breaker = CircuitBreaker("<b>")
    closed = svg({"x & y": [Retry(3), breaker]})
    breaker.trip(60)
    opened = svg({"x & y": [Retry(3), breaker]})
    words = "".join(ElementTree.fromstring(closed).itertext())
    for word in ("x & y", "Retry", "CircuitBreaker", "'<b>'", "call"):
        assert word in words
    assert COLOURS["bad"] in opened
    assert COLOURS["bad"] not in closed
    assert ElementTree.fromstring(svg({})).tag.endswith("svg")
