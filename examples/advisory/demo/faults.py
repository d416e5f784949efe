"""The demo's fault panel: breaks what can break, on purpose, so that one sees what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from advisory.demo.embedded import Embedded

__all__ = ["Fault", "faults_of"]

_STORM = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """One button. `run` waits for servers: call it in a thread."""

    name: str
    label: str
    watch: str
    run: Callable[[], object]


def faults_of(embedded: Embedded, models: list[str]) -> dict[str, Fault]:
    """The faults that these servers can have."""
    simulator, postgres, redis = embedded.simulator, embedded.postgres, embedded.redis

    def storm() -> None:
        for model in models:
            simulator.script(*["overloaded"] * _STORM, model=model)

    found = [
        Fault(
            "storm",
            "Tempestade 529",
            "Os próximos pedidos ao modelo são recusados por sobrecarga. Faça uma pergunta: cada pedido é tentado "
            "de novo, depois com o modelo alternativo; se nada ajuda, o resultado é parcial, com o motivo.",
            storm,
        ),
        Fault(
            "postgres",
            "Reiniciar o PostgreSQL",
            "Faça isto no meio de um conselho: nenhuma resposta se perde, nenhum especialista é chamado duas vezes.",
            postgres.restart,
        ),
    ]
    if redis is not None:
        found += [
            Fault(
                "redis-kill",
                "Matar o Redis",
                "Nada muda nas páginas, os limites continuam valendo e a saúde do serviço passa a “reduzido”.",
                redis.kill,
            ),
            Fault(
                "redis-start", "Ligar o Redis de novo", "A saúde volta a “funciona” em segundos.", redis.start
            ),
        ]
    return {fault.name: fault for fault in found}
