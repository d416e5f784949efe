"""The commands ``serve``, ``worker``, ``migrate``, ``deleted`` and ``purge``, run with valid settings."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from advisory.settings import Settings
from prodkit import Runtime, logs
from prodkit.errors import ProdkitError

__all__ = ["run"]


def run(command: str, settings: Settings, *, runtime: Runtime | None = None) -> int:
    """Run one command; report what the operator can fix in one line."""
    runtime = runtime or Runtime()
    chosen: dict[str, Callable[[Settings, Runtime], Coroutine[Any, Any, int]]] = {
        "serve": _serve,
        "worker": _worker,
        "migrate": _migrate,
        "deleted": _deleted,
        "purge": _purge,
    }
    try:
        with logs.setup(environment=settings.environment, level="INFO", secrets=settings, runtime=runtime):
            return asyncio.run(chosen[command](settings, runtime))
    except (ProdkitError, OSError) as error:
        print(f"advisory: {error}", file=sys.stderr)
        return 1


async def _migrate(settings: Settings, _: Runtime) -> int:
    from advisory.migrations.apply import migrate
    from advisory.store.experts import Experts
    from advisory.store.seeds import seed_experts
    from prodkit import postgres

    changed = await migrate(settings.database_url)
    async with postgres.Pool(
        settings.database_url, min_size=0, max_size=2, application_name="advisory-migrate"
    ) as db:
        if added := await seed_experts(Experts(db)):
            print(f"advisory: {added} especialistas iniciais criados")
    print("advisory: banco de dados atualizado" if changed else "advisory: o banco de dados já estava em dia")
    return 0


async def _deleted(settings: Settings, _: Runtime) -> int:
    """Say how much lies in the bin, and how much of it the next purge removes for good."""
    from advisory.store.deleted import KEPT_DAYS, counts
    from prodkit import postgres

    async with postgres.Pool(
        settings.database_url, min_size=0, max_size=1, application_name="advisory-deleted"
    ) as db:
        for table, (rows, due) in (await counts(db)).items():
            print(f"advisory: {table}: {rows} apagados, {due} há mais de {KEPT_DAYS} dias")
    return 0


async def _purge(settings: Settings, _: Runtime) -> int:
    """Remove now what the worker removes every hour."""
    from advisory.store.purge import purge
    from prodkit import postgres

    async with postgres.Pool(
        settings.database_url, min_size=0, max_size=1, application_name="advisory-purge"
    ) as db:
        print(f"advisory: {await purge(db)} linhas removidas para sempre")
    return 0


async def _serve(settings: Settings, runtime: Runtime) -> int:
    from advisory.main import create_app
    from advisory.migrations.apply import is_current
    from advisory.serve import bound_socket, make_server
    from advisory.services import Services

    try:
        listener = bound_socket(settings.host, settings.port)
    except OSError as error:
        print(
            f"advisory: não foi possível escutar em {settings.host}:{settings.port} ({error.strerror}); escolha outra "
            "porta em PORT",
            file=sys.stderr,
        )
        return 1
    with listener:
        if settings.migrate:
            await _migrate(settings, runtime)
        if not await is_current(settings.database_url):
            print(
                "advisory: o banco de dados está desatualizado; rode `python -m advisory migrate`",
                file=sys.stderr,
            )
            return 1
        services = Services.of(settings, runtime=runtime)
        await make_server(create_app(services), settings).serve(sockets=[listener])
    return 0


async def _worker(settings: Settings, runtime: Runtime) -> int:
    """Work until SIGTERM or Ctrl-C, then hand over the jobs in flight."""
    from loguru import logger

    from advisory.mail import mailer_of
    from advisory.services import (
        make_answer,
        make_avatars,
        make_breakers,
        make_claude,
        make_sources,
        make_worker,
    )
    from advisory.store.council import CouncilRows
    from advisory.store.fleet import Fleet
    from advisory.store.research_work import ResearchRows
    from advisory.worker.council import Council
    from advisory.worker.mail import Mails
    from advisory.worker.research import ResearchWork
    from advisory.worker.retries import listen
    from advisory.worker.trial import trial_job
    from advisory.worker.warm import imported
    from prodkit import Health, postgres, running
    from prodkit.jobs import Job
    from prodkit.redis import RedisLink

    db = postgres.Pool(
        settings.database_url,
        environment=settings.environment,
        application_name="advisory-worker",
        runtime=runtime,
    )
    redis = RedisLink(settings.redis_url, runtime=runtime)
    breakers = make_breakers(settings, redis, runtime)
    claude = make_claude(settings, runtime, shared=breakers)
    sources = make_sources(settings, redis, runtime, breakers)
    pictures = make_avatars(runtime)
    work: list[Job[..., Any]] = [
        Council(CouncilRows(), claude).job(),
        ResearchWork(ResearchRows(), sources, claude, pictures).job(),
        trial_job(claude),
    ]
    mails = Mails(db, mailer_of(settings, runtime, shared=breakers), public_url=settings.public_url or "")
    worker = make_worker(db, [*work, make_answer(settings, claude), *mails.all()], runtime)
    listen(runtime.events)
    fleet = Fleet(
        db, "worker", Health(db, optional=(redis, claude, *sources.breakers, worker), runtime=runtime)
    )
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await imported("anthropic")  # before the first job: a take-over must not wait for an import
    async with running(redis, breakers, sources, db, aclosing(claude), aclosing(pictures), worker, fleet):
        logger.info("the worker takes jobs")
        await stop.wait()
    return 0
