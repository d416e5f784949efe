"""The demo's fault panel: breaks what can break, on purpose, so that one sees what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from advisory.demo.embedded import Embedded

__all__ = ["STORM_SECONDS", "Fault", "faults_of"]

STORM_SECONDS = 20.0
"""The length of a storm. The demo's breakers stay open for 20 s, so everything is back 40 s after a storm began."""


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
            simulator.storm("overloaded", STORM_SECONDS, model=model)

    found = [
        Fault(
            "storm",
            "Sobrecarregar o modelo principal",
            "Por 20 segundos ele só responde 529. Faça uma pergunta: cada pedido é tentado de novo e depois vai para o "
            "modelo alternativo. As respostas chegam, e cada parecer diz quem o escreveu.",
            partial(storm, models[0]),
        ),
        Fault(
            "storm-all",
            "Sobrecarregar todos os modelos",
            "Por 20 segundos nenhum modelo responde: o conselho diz o que faltou e por quê, e o disjuntor abre. "
            "Enquanto ele está aberto, novas perguntas esperam sem gastar o seu limite. Em até 40 segundos tudo volta.",
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
