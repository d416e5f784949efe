"""The demo's fault panel: breaks what can break, on purpose, so that one sees what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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

    def storm(*where: str) -> None:
        for model in where:
            simulator.script(*["overloaded"] * _STORM, model=model)

    found = [
        Fault(
            "storm",
            "Sobrecarregar o modelo principal",
            "Os próximos pedidos a ele recebem 529. Faça uma pergunta: cada um é tentado de novo e depois vai para o "
            "modelo alternativo. As respostas chegam, e cada parecer diz quem o escreveu.",
            partial(storm, models[0]),
        ),
        Fault(
            "storm-all",
            "Sobrecarregar todos os modelos",
            "Agora ninguém responde: o conselho diz o que faltou e por quê, o disjuntor abre e poupa o serviço. "
            "Vinte segundos depois, um único pedido verifica se ele voltou.",
            partial(storm, *models),
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
