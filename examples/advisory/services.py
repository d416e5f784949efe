"""Everything that a request may need, made once: the composition root of the app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from starlette.requests import Request

import prodkit as pk
from advisory.mail import mailer_of
from advisory.pages.render import Pages
from advisory.settings import Settings
from advisory.sources.sources import Sources
from advisory.store.account import Account
from advisory.store.backups import Backups
from advisory.store.chat import Chats
from advisory.store.chat_turns import TurnEvents, TurnRows
from advisory.store.council import CouncilRows
from advisory.store.events import RunEvents, Topics
from advisory.store.experts import Experts
from advisory.store.fleet import Fleet
from advisory.store.listener import Listener
from advisory.store.personas import Personas
from advisory.store.recoveries import Recoveries
from advisory.store.refunds import Refunds
from advisory.store.research import Researches
from advisory.store.research_events import ResearchEvents
from advisory.store.research_work import ResearchRows
from advisory.store.runs import Runs
from advisory.store.saved import Saved
from advisory.store.share import Shares
from advisory.store.users import Users
from advisory.worker.answers import Answer
from advisory.worker.chat import Answering
from advisory.worker.council import Council
from advisory.worker.mail import Mails
from advisory.worker.purge import purge_job
from advisory.worker.research import ResearchWork
from advisory.worker.retries import listen
from advisory.worker.trial import trial_job
from prodkit import cache, files, jobs, llm, postgres, progress, ratelimit, sessions, web
from prodkit.core.check import Check
from prodkit.redis import RedisLink, SharedBreakers

if TYPE_CHECKING:
    from advisory.demo.mode import DemoMode

__all__ = ["Services", "services"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the kit and the app's own, wired together."""

    settings: Settings
    runtime: pk.Runtime
    db: postgres.Pool
    redis: RedisLink
    breakers: SharedBreakers
    """A breaker that a worker opens is open in the web processes too, and in their health."""
    claude: llm.Client
    limiter: ratelimit.RateLimiter
    avatars: files.Validator
    passwords: sessions.Passwords
    sessions: sessions.Sessions
    health: pk.Health
    fleet: Fleet
    backups: Backups
    users: Users
    account: Account
    experts: Experts
    personas: Personas
    runs: Runs
    sources: Sources
    researches: Researches
    research_events: ResearchEvents
    trial: jobs.Job[[str, str], Answer]
    job_runs: jobs.Runs
    answers: cache.Cache
    saved: Saved
    shares: Shares
    events: RunEvents
    chats: Chats
    refunds: Refunds
    chat_refunds: Refunds
    turns: TurnEvents
    listener: Listener
    channel: progress.Channel
    """Every live stream follows it; a new kind of topic needs a reader in `Services.of` and nothing else."""
    recoveries: Recoveries
    mails: Mails
    worker: jobs.Worker
    pages: Pages
    demo: DemoMode | None = None
    drain: web.Drain = field(default_factory=web.Drain)

    @classmethod
    def of(
        cls, settings: Settings, *, runtime: pk.Runtime | None = None, demo: DemoMode | None = None
    ) -> Services:
        """Makes the parts; nothing is opened before they are started."""
        runtime = runtime or pk.Runtime()
        production = settings.environment in ("staging", "production")
        db = postgres.Pool(
            settings.database_url,
            environment=settings.environment,
            application_name="advisory",
            runtime=runtime,
        )
        redis = RedisLink(settings.redis_url, runtime=runtime)
        breakers = make_breakers(settings, redis, runtime)
        claude = make_claude(settings, runtime, shared=breakers)
        listen(runtime.events)
        council = Council(CouncilRows(), claude).job()
        events, turns, listener = RunEvents(db), TurnEvents(db), Listener(db)
        answer = make_answer(settings, claude)
        avatars = make_avatars(runtime)
        sources = make_sources(settings, redis, runtime, breakers)
        research = ResearchWork(ResearchRows(), sources, claude, avatars).job()
        research_events = ResearchEvents(db)
        trial = trial_job(claude)
        job_runs = jobs.Runs(db)
        answers = cache.Cache(redis, namespace=f"advisory-{_mark(settings)}", runtime=runtime)
        mailer = mailer_of(settings, runtime, shared=breakers)
        mails = Mails(db, mailer, public_url=settings.public_url or "")
        worker = make_worker(db, [council, answer, research, trial, *mails.all()], runtime)
        mine: tuple[Check, ...] = (redis, claude, *sources.breakers, *(() if mailer is None else (mailer,)))
        backups = Backups(db, max_hours=settings.backup_max_hours)
        expected = () if settings.backup_max_hours is None else (backups,)
        fleet = Fleet(
            db,
            "both" if settings.worker else "web",
            pk.Health(db, optional=(*mine, worker) if settings.worker else mine, runtime=runtime),
        )
        return cls(
            settings=settings,
            runtime=runtime,
            db=db,
            redis=redis,
            breakers=breakers,
            claude=claude,
            limiter=ratelimit.RateLimiter(
                redis, namespace=f"advisory:{_mark(settings)}:limit", runtime=runtime
            ),
            avatars=avatars,
            passwords=sessions.Passwords(),
            sessions=sessions.Sessions(
                sessions.PostgresStore(db),
                secret=settings.session_secret,
                secure=production,
                runtime=runtime,
            ),
            health=pk.Health(db, optional=(*mine, job_runs, fleet, *expected), runtime=runtime),
            fleet=fleet,
            backups=backups,
            users=Users(db),
            account=Account(db),
            experts=Experts(db),
            personas=Personas(db),
            runs=Runs(db, council),
            sources=sources,
            researches=Researches(db, research),
            research_events=research_events,
            trial=trial,
            job_runs=job_runs,
            answers=answers,
            saved=Saved(db, answers),
            shares=Shares(db),
            events=events,
            chats=Chats(db, answer),
            refunds=Refunds(db, "runs"),
            chat_refunds=Refunds(db, "chat_turns"),
            turns=turns,
            listener=listener,
            channel=progress.Channel(
                log=Topics(listener, {"run": events, "turn": turns, "research": research_events}),
                runtime=runtime,
            ),
            recoveries=Recoveries(db),
            mails=mails,
            worker=worker,
            pages=Pages(demo=demo is not None, mail=mails.enabled),
            demo=demo,
            drain=web.Drain(delay=settings.drain_seconds, runtime=runtime),
        )


def make_breakers(settings: Settings, redis: RedisLink, runtime: pk.Runtime) -> SharedBreakers:
    """One set of breakers a database: two deployments on one Redis do not pause each other."""
    return SharedBreakers(redis, namespace=f"advisory:{_mark(settings)}:breaker", runtime=runtime)


def _mark(settings: Settings) -> str:
    """Names what deployments on one Redis must not share."""
    return blake2b(settings.database_url.reveal().encode(), digest_size=6).hexdigest()


def make_claude(
    settings: Settings, runtime: pk.Runtime, *, shared: SharedBreakers | None = None
) -> llm.Client:
    return llm.Client(
        settings.anthropic_api_key,
        base_url=settings.anthropic_base_url,
        models=tuple(settings.models),
        attempts=3,
        timeout=60,
        open_for=settings.breaker_seconds,
        shared=shared,
        prices=model_prices(settings),
        runtime=runtime,
    )


def model_prices(settings: Settings) -> dict[str, llm.Price]:
    """The prices of the models that are used."""
    return {
        name: llm.Price(*price) for name, price in settings.model_prices.items() if name in settings.models
    }


class Avatars(files.Validator):
    """Pictures whose names are never used, so that an odd one, as phones send, is no reason against them."""

    async def check(self, source: Any, *, filename: str | None, **claims: Any) -> files.CleanFile:
        """As the validator does, under a name that any file system could take."""
        name = filename and files.safe_filename(filename)
        if name and "." not in name:
            # ``desenho.svg`` became ``desenho_svg``, and is to be refused as what it is
            name += PurePosixPath((filename or "").replace("\\", "/")).suffix
        return await super().check(source, filename=name, **claims)


def make_avatars(runtime: pk.Runtime) -> files.Validator:
    """The check of every picture, sent by a visitor or found by a source."""
    return Avatars(
        files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048),
        on_damage="rewrite",
        language="pt-BR",
        runtime=runtime,
    )


def make_sources(
    settings: Settings, redis: RedisLink, runtime: pk.Runtime, shared: SharedBreakers | None
) -> Sources:
    return Sources(settings, redis, shared=shared, open_for=settings.breaker_seconds, runtime=runtime)


def make_answer(settings: Settings, claude: llm.Client) -> jobs.Job[[UUID], None]:
    """The job that answers a question of a conversation."""
    prices = model_prices(settings)
    return Answering(TurnRows(), claude, context=settings.chat_context_tokens, prices=prices).job()


def make_worker(
    db: postgres.Pool, of_visitors: Sequence[jobs.Job[..., Any]], runtime: pk.Runtime
) -> jobs.Worker:
    """The worker of what visitors asked for, and of scheduled work."""
    return jobs.Worker(
        db, [*of_visitors, purge_job(db)], concurrency=20, grace=3.0, name="worker", runtime=runtime
    )


def services(request: Request) -> Services:
    """The services of the app that serves `request`."""
    found: Services = request.app.state.services
    return found
