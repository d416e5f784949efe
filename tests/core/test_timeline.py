import math
import xml.etree.ElementTree as ET

import pytest

from prodkit.core.timeline import COLOURS, Band, Chart, Line, Marker, Row

SVG = "{http://www.w3.org/2000/svg}"


def drawn(chart: Chart) -> ET.Element:
    return ET.fromstring(chart.svg())


def test_bands_and_markers_stand_where_their_seconds_are() -> None:
    row = Row(
        "payments", [Band(0, 10, "ok", "closed"), Band(10, 40, "bad", "open")], [Marker(20, "info", "probe")]
    )
    root = drawn(Chart("Breakers", [row], width=536))  # 400 pixels for 40 seconds
    boxes = [(float(each.get("x", 0)), float(each.get("width", 0))) for each in root.iter(f"{SVG}rect")]
    assert boxes == [(120, 100), (220, 300), (319, 2)]
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles == ["Breakers", "payments", "closed", "open", "probe"]


def test_texts_are_escaped_and_long_labels_shortened() -> None:
    label = "<script>alert(1)</script>"
    text = Chart(label, [Row(label, [Band(0, 1, title=label)])]).svg()
    assert "<script" not in text
    assert "…</text>" in text
    ET.fromstring(text)


def test_curves_share_one_scale_and_break_at_gaps() -> None:
    chart = Chart(
        "Load", lines=[Line("calls", [(0, 0), (1, 10), (2, math.nan), (3, 5)], filled=True)], unit="calls/s"
    )
    root = drawn(chart)
    assert len(list(root.iter(f"{SVG}polyline"))) == 2
    assert "10 calls/s" in "".join(root.itertext())


@pytest.mark.parametrize("length", [0.05, 1, 59, 195, 3_600, 90_000, 10_000_000])
def test_an_axis_has_two_to_ten_round_ticks(length: float) -> None:
    root = drawn(Chart("x", [Row("a", [Band(0, length)])]))
    assert 1 <= len(list(root.iter(f"{SVG}line"))) <= 10


def test_an_empty_chart_is_a_picture_too() -> None:
    assert drawn(Chart("nothing yet")).tag == f"{SVG}svg"


def test_colours_stand_out_on_white_and_on_black() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name, colour in COLOURS.items():
        level = luminance(colour)
        assert min(1.05 / (level + 0.05), (level + 0.05) / 0.05) >= 2.5, name
