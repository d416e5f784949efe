"""The faults that the demo can have: each begins at a button, ends by itself, and promises when all is well again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from advisory.demo.embedded import BREAKER_SECONDS, Embedded

__all__ = ["STORM_SECONDS", "Fault", "faults_of"]

STORM_SECONDS: Final = 20.0
"""The length of a storm. A breaker that opened at its end lets calls through one `BREAKER_SECONDS` later."""
_SOURCES: Final = {"perplexity": "Perplexity", "youtube": "YouTube", "unsplash": "Unsplash"}
_NETWORK_SECONDS: Final = 15.0
_REDIS_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One button. `begin` and `end` wait for servers: call them in a thread.

    `watch` says what to look at. `seconds` is the length of the fault, and `back_within` the seconds after its
    beginning within which everything works again: a promise that the page makes and a test keeps.
    """

    name: str
    label: str
    watch: str
    begin: Callable[[float], object]
    end: Callable[[], object] | None = None
    seconds: float = 0.0
    back_within: float


class Source(Protocol):
    """An outside source that can have a storm of its own."""

    name: str

    def storm(self, behaviour: str, seconds: float, /) -> None: ...


def faults_of(
    embedded: Embedded, models: list[str], *, kill_worker: Callable[[], object] | None = None
) -> dict[str, Fault]:
    """The faults that these servers can have, by name; each outside source of `embedded` adds one."""
    found = [*_of_models(embedded, models), *_of_servers(embedded), *_of_networks(embedded)]
    if kill_worker is not None:
        found.append(
            Fault(
                name="worker",
                label="Matar um processo de trabalho",
                watch="kill -9 no processo que mais trabalha. O conselho mostra “Retomando de onde parou…”: outro "
                "processo continua, e nenhum parecer pronto é pedido de novo.",
                begin=lambda _seconds: kill_worker(),
                back_within=10.0,
            )
        )
    found += _of_sources(embedded)
    return {fault.name: fault for fault in found}


def _of_models(embedded: Embedded, models: list[str]) -> list[Fault]:
    def storm(where: list[str], seconds: float) -> None:
        for model in where:
            embedded.simulator.storm("overloaded", seconds, model=model)

    back = STORM_SECONDS + BREAKER_SECONDS + 5.0
    return [
        Fault(
            name="storm",
            label="Sobrecarregar o modelo principal",
            watch="Ele só responde 529. Cada pedido é tentado de novo e depois vai para o modelo alternativo: as "
            "respostas chegam, e cada parecer diz quem o escreveu.",
            begin=partial(storm, models[:1]),
            seconds=STORM_SECONDS,
            back_within=back,
        ),
        Fault(
            name="storm-all",
            label="Sobrecarregar todos os modelos",
            watch="Nenhum modelo responde: o conselho diz o que faltou e por quê, e o disjuntor abre. Enquanto ele "
            "está aberto, novas perguntas são recusadas com a hora da próxima tentativa, sem gastar o seu limite.",
            begin=partial(storm, models),
            seconds=STORM_SECONDS,
            back_within=back,
        ),
    ]


def _of_servers(embedded: Embedded) -> list[Fault]:
    postgres, redis = embedded.postgres, embedded.redis
    found = [
        Fault(
            name="postgres",
            label="Reiniciar o PostgreSQL",
            watch="Faça isto no meio de um conselho: a página aberta espera, nenhuma resposta se perde e nenhum "
            "especialista é chamado duas vezes.",
            begin=lambda _seconds: postgres.restart(),
            back_within=15.0,
        )
    ]
    if redis is not None:
        found.append(
            Fault(
                name="redis",
                label="Matar o Redis",
                watch="Nada muda nas páginas e os limites continuam valendo; a saúde do serviço passa a “reduzido” e "
                "volta sozinha.",
                begin=lambda _seconds: redis.kill(),
                end=redis.start,
                seconds=_REDIS_SECONDS,
                back_within=_REDIS_SECONDS + 12.0,
            )
        )
    return found


def _of_networks(embedded: Embedded) -> list[Fault]:
    delays: Mapping[str, float] = {"postgres": 0.06, "model": 0.5}

    def slow(_seconds: float) -> None:
        for name, delay in delays.items():
            embedded.networks[name].delay(delay)

    def heal() -> None:
        for name in delays:
            embedded.networks[name].heal()

    return [
        Fault(
            name="network",
            label="Deixar a rede lenta",
            watch="Cada ida ao banco custa 120 ms a mais, e cada ida ao modelo um segundo. As páginas demoram mais e "
            "nada falha; no console, os tempos do pool sobem.",
            begin=slow,
            end=heal,
            seconds=_NETWORK_SECONDS,
            back_within=_NETWORK_SECONDS + 5.0,
        )
    ]


def _of_sources(embedded: Embedded) -> list[Fault]:
    """One button for each outside source that the demo simulates."""
    sources: tuple[Source, ...] = getattr(getattr(embedded, "sources", None), "sources", ())
    return [
        Fault(
            name=f"source-{source.name}",
            label=f"Derrubar {_SOURCES.get(source.name, source.name)}",
            watch="Enriqueça uma persona: ela fica parcial, diz qual fonte faltou, e pode ser completada depois.",
            begin=partial(source.storm, "503"),
            seconds=STORM_SECONDS,
            back_within=STORM_SECONDS + BREAKER_SECONDS + 5.0,
        )
        for source in sources
    ]
