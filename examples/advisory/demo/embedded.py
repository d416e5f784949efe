"""The servers of the demo, side by side, and gone with it."""

from __future__ import annotations

import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from advisory.settings import Settings
from prodkit import env
from prodkit.testing import Proxy, sources
from prodkit.testing.anthropic import Simulator
from prodkit.testing.servers import Postgres, Redis

__all__ = ["BREAKER_SECONDS", "Embedded"]

BREAKER_SECONDS = 20.0
"""The demo's breakers let the first call through after 20 s, not after five minutes."""

_PACE = ("slow-1.6", "slow-3.4", "slow-5.2", "slow-2.2", "slow-4.3", "slow-2.8")
"""The seconds that simulated experts take: long enough to watch them finish one after the other."""


class Embedded:
    """PostgreSQL and Redis in `directory`, and the Messages API simulator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.postgres = Postgres(directory / "postgres")
        self.redis = Redis(directory / "redis") if Redis.available() else None
        self.sources = sources.Simulator()
        self.simulator = Simulator(answers="advisory.demo.answers:council")
        self.networks: dict[str, Proxy] = {}
        """The ways to the database and to the model, which the panel can make slow."""
        self.outbox = directory / "outbox"

    def start(self) -> None:
        """All at once; when one cannot start, none is left."""
        with ThreadPoolExecutor(4, thread_name_prefix="demo-servers") as threads:
            starting: list[Future[Any]] = [
                threads.submit(self.postgres.start),
                threads.submit(self._simulator),
                threads.submit(self._sources),
            ]
            if self.redis is not None:
                starting.append(threads.submit(self.redis.start))
            import_module("advisory.main")  # takes as long as the servers do
        try:
            for each in starting:
                each.result()
            for name, server in (("postgres", self.postgres), ("model", self.simulator)):
                self.networks[name] = Proxy(server.url).start()
        except BaseException:
            self.stop()
            raise

    def _simulator(self) -> None:
        self.simulator.start()
        self.simulator.script(*_PACE * 100)
        self.simulator.always("slow-2.5")

    def _sources(self) -> None:
        self.sources.start()
        self.sources.perplexity.always("slow-4")
        self.sources.youtube.always("slow-2")
        self.sources.unsplash.always("slow-1")

    def stop(self) -> None:
        for network in self.networks.values():
            network.stop()
        self.simulator.stop()
        self.sources.stop()
        if self.redis is not None:
            self.redis.stop()
        self.postgres.stop()

    def settings(self, *, host: str, port: int) -> Settings:
        """The app's settings on these servers. The secret is new each time: old cookies mean nothing to a new demo."""
        return Settings(
            environment="development",
            database_url=env.PostgresUrl(self.networks["postgres"].url_for(self.postgres.url)),
            redis_url=None if self.redis is None else env.RedisUrl(self.redis.url),
            anthropic_api_key=env.Secret("demo-simulator-key-7Qv2mX9"),
            anthropic_base_url=self.networks["model"].url_for(self.simulator.url),
            perplexity_api_key=env.Secret("demo-perplexity-key-4Hn8"),
            perplexity_base_url=self.sources.perplexity.url,
            youtube_api_key=env.Secret("demo-youtube-key-9Kd2"),
            youtube_base_url=self.sources.youtube.url,
            unsplash_access_key=env.Secret("demo-unsplash-key-3Zp7"),
            unsplash_base_url=self.sources.unsplash.url,
            session_secret=env.Secret(secrets.token_urlsafe(48)),
            public_url=f"http://{host}:{port}",
            mail_url=env.Secret(self.outbox.as_uri()),
            worker=False,  # in processes of their own, which the panel can kill
            host=host,
            port=port,
            breaker_seconds=BREAKER_SECONDS,
        )
