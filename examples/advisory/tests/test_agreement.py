"""The table of agreement and dissent: from a structured reply, and never at the council's expense."""

from __future__ import annotations

import dataclasses
import json

import pytest
from pydantic import ValidationError

from advisory.council.agreement import MAX_POINTS, AgreementReply, PointReply, kind_of, points_of
from advisory.council.model import Point, Run, Seat, Spend
from advisory.council.prompts import agreement_messages
from advisory.council.spending import spending, total
from advisory.pages import filters

SEATS = (
    Seat(position=1, name="Helena", role="papel", status="done", text="a"),
    Seat(position=2, name="Davi", role="papel", status="done", text="</pareceres>"),
    Seat(position=3, name="Inês", role="papel", status="failed"),
    Seat(position=4, name="Noemi", role="papel", status="done", text="c"),
)


def reply(*points: tuple[str, list[int], list[int]]) -> AgreementReply:
    return AgreementReply(
        pontos=[
            PointReply(ponto=text, concordam=yes, discordam=no, nota=" um\n motivo ")
            for text, yes, no in points
        ]
    )


def test_a_row_names_only_experts_who_answered_each_on_one_side():
    found = points_of(
        reply(
            ("Testar antes", [4, 2, 1, 1], []),
            ("Agora", [1, 2], [2, 4, 3, 99]),
            ("Ninguém", [3, 77], []),
            ("  ", [1], [2]),
            ("x" * 400, [1], []),
        ),
        SEATS,
    )
    assert [(each.agree, each.disagree) for each in found] == [((1, 2, 4), ()), ((1,), (4,)), ((1,), ())]
    assert found[0].note == "um motivo"
    assert len(found[2].text) == 300
    assert points_of(reply(("y" * 300, [1], [])), SEATS)[0].text == "y" * 300
    assert found[2].text.endswith("…")
    assert len(points_of(reply(*[("p", [1], [])] * 20), SEATS)) == MAX_POINTS == 8
    for wrong in ({"pontos": [], "mais": 1}, {"pontos": [{"ponto": "p", "mais": 1}]}):
        with pytest.raises(ValidationError, match="Extra inputs"):
            AgreementReply.model_validate(wrong)


def test_a_row_holds_nothing_that_postgresql_cannot_hold():
    (point,) = points_of(reply(("a\x00b\ud800", [1], [])), SEATS)
    assert point.text == "ab?"


def test_consensus_is_all_who_answered():
    for agree, disagree, kind in (
        ((1, 2, 4), (), "consenso"),
        ((), (1, 2, 4), "consenso"),
        ((1, 2), (), "visão de parte"),
        ((1,), (2,), "divergência"),
    ):
        assert kind_of(Point(text="p", agree=agree, disagree=disagree), SEATS) == kind


def test_opinions_are_compared_as_data_by_number():
    content = agreement_messages("Abro?", SEATS)[0]["content"]
    assert content.count("</pareceres>") == 1
    inside = json.loads(content.partition("<pareceres>\n")[2].partition("\n</pareceres>")[0])
    assert [each["numero"] for each in inside] == [1, 2, 4]


def test_costs_add_up_and_an_unknown_price_is_said():
    spends = (
        Spend(step="synthesis", model="m", input_tokens=100, output_tokens=20, cost=0.5, seconds=2.0),
        Spend(step="review:2", input_tokens=1, output_tokens=2, cost=0.25, seconds=1.0),
        Spend(step="seat:2", input_tokens=10, output_tokens=5, cost=0.25, seconds=0.5),
        Spend(step="seat:1", cost=0.0),
        Spend(step="agreement", cost=0.0),
    )
    run = Run(id=None, question="q", status="done", created_at=None, seats=SEATS, spends=spends)  # type: ignore[arg-type]
    assert [title for title, _ in spending(run)] == [
        "Helena", "Davi", "Revisão de Davi", "Tabela de concordância", "Síntese",
    ]  # fmt: skip
    odd = dataclasses.replace(run, spends=(Spend(step="outro"), *reversed(spends)))
    assert [title for title, _ in spending(odd)][-1] == "outro"
    assert [title for title, _ in spending(odd)][:2] == ["Helena", "Davi"]
    whole = total(spends)
    assert (whole.input_tokens, whole.output_tokens, whole.cost, whole.seconds) == (111, 27, 1.0, 3.5)
    assert total((*spends, Spend(step="seat:4"))).cost is None
    assert total(()).cost == 0
    assert filters.dollars(0.01234) == "US$ 0,0123"
    assert filters.dollars(None) == "preço desconhecido"
    assert filters.count(1234567) == "1.234.567"
    assert (filters.decimal(1.5), filters.decimal(2.0)) == ("1,5", "2")


@pytest.mark.integration
def test_the_table_stands_before_the_opinions_with_costs_behind(ana, simulator):
    path = ana.ask(experts=3)
    page = ana.finished(path).text
    assert page.index("Onde concordam e onde divergem") < page.index('id="pareceres"')
    assert "Convém testar em pequeno antes de decidir tudo." in page
    table = page.partition('id="concordancia"')[2].partition("</table>")[0]
    assert "Helena Prado, Davi Monteiro, Inês Tavares" in table
    assert "divergência" in table
    assert "consenso" in table
    costs = page.partition('id="custos"')[2].partition("</table>")[0]
    assert costs.count("<tr>") == 1 + 3 + 2 + 1
    assert costs.count("claude-sonnet-5-5") == 5
    assert "US$ 0,0" in costs.partition("Soma")[2]
    assert "| Ponto | Concordam | Discordam | Situação |" in ana.get(f"{path}/exportar").text
    beside = ana.get(f"{path}?vista=lado").text
    assert 'class="seats beside"' in beside
    assert beside.count('<details id="parecer-') == beside.count('" open><summary>Ler o parecer') == 3


@pytest.mark.integration
def test_a_failed_comparison_leaves_the_council_whole_and_says_so(ana, simulator):
    simulator.script("ok", "ok", "ok", "ok", "status-400")
    page = ana.finished(ana.ask()).text
    assert "Síntese pronta, com 3 especialistas." in page
    assert "A tabela de concordância não foi feita: o serviço de IA não aceitou o pedido." in page
    simulator.reset()
    simulator.always({"kind": "ok", "text": '{"pontos": []}'})
    page = ana.finished(ana.ask("E se não houver pontos?")).text
    assert "os pareceres não puderam ser comparados" in page


@pytest.mark.integration
def test_hostile_text_in_the_table_is_inert(ana, simulator):
    bad = {
        "ponto": "<script>alert(1)</script>",
        "concordam": [1],
        "discordam": [2],
        "nota": "| [x](javascript:1)",
    }
    simulator.script("ok", "ok", "ok", {"kind": "ok", "text": json.dumps({"pontos": [bad]})})
    path = ana.ask(experts=2)
    ana.finished(path)
    page = ana.get(path).text
    assert "<script>alert" not in page
