"""Tokens, cost and time of a council, step by step and in sum. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from advisory.council.model import Run, Spend

__all__ = ["spending", "title_of", "total"]


def total(spends: Sequence[Spend]) -> Spend:
    """The sum. Its cost is None where that of one step is not known: half of a sum would mislead."""
    costs = [each.cost for each in spends]
    return Spend(
        step="total",
        input_tokens=sum(each.input_tokens for each in spends),
        output_tokens=sum(each.output_tokens for each in spends),
        cost=None if None in costs else sum(each for each in costs if each is not None),
        seconds=sum(each.seconds for each in spends),
    )


def title_of(run: Run, step: str) -> str:
    """The step in the user's words."""
    kind, _, position = step.partition(":")
    if kind in ("seat", "review"):
        name = next((seat.name for seat in run.seats if str(seat.position) == position), position)
        return name if kind == "seat" else f"Revisão de {name}"
    return {"synthesis": "Síntese", "agreement": "Tabela de concordância"}.get(kind, kind)


def spending(run: Run) -> list[tuple[str, Spend]]:
    """The rows: seats in their order, reviews in theirs, then what the chairman did."""
    order = {"seat": 0, "review": 1, "agreement": 2, "synthesis": 3}

    def place(spend: Spend) -> tuple[int, int]:
        kind, _, position = spend.step.partition(":")
        return order.get(kind, 4), int(position) if position.isdigit() else 0

    return [(title_of(run, each.step), each) for each in sorted(run.spends, key=place)]
