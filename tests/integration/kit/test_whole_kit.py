"""The kit as a service uses it: every pinned name, together, on real parts."""

import io
import secrets
from collections.abc import AsyncIterator

import pytest
from PIL import Image

import prodkit as pk
from prodkit import cache, env, files, llm, logs, postgres, ratelimit
from prodkit.redis import RedisLink
from prodkit.testing import anthropic

pytestmark = pytest.mark.integration


class Settings(env.Settings):
    environment: env.Environment = "development"
    database_url: env.PostgresUrl
    redis_url: env.RedisUrl | None = None
    anthropic_api_key: env.Secret
    session_secret: env.Secret = env.secret(min_length=32)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 16), "teal").save(stream, "PNG")
    return stream.getvalue()


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 50):
        yield content[start : start + 50]


@pytest.mark.parametrize("with_redis", [True, False], ids=["redis", "memory"])
async def test_all_of_it_together(
    postgres_url: str, redis_url: str, anthropic_simulator: anthropic.Simulator, with_redis: bool
) -> None:
    environ = {
        "DATABASE_URL": postgres_url,
        "ANTHROPIC_API_KEY": f"sk-ant-{secrets.token_urlsafe(24)}",
        "SESSION_SECRET": secrets.token_urlsafe(32),
        **({"REDIS_URL": redis_url} if with_redis else {}),
    }
    settings = Settings.load(environ)
    rt = pk.Runtime()
    lines = io.StringIO()
    logging = logs.setup(environment="production", runtime=rt, secrets=settings, stream=lines)
    db = postgres.Pool(settings.database_url, min_size=1, max_size=5, runtime=rt)
    redis = RedisLink(settings.redis_url, runtime=rt)
    claude = llm.Client(
        settings.anthropic_api_key,
        base_url=anthropic_simulator.url,
        models=("claude-sonnet-5-5", "claude-haiku-5-5"),
        attempts=3,
        timeout=60,
        runtime=rt,
    )
    answers = cache.Cache(redis, namespace="council", runtime=rt)
    limiter = ratelimit.RateLimiter(redis, runtime=rt)
    avatars = files.Validator(files.ImagePolicy(max_bytes=5 * 2**20, max_width=2048, max_height=2048))
    perplexity = pk.CircuitBreaker("perplexity", failures=5, open_for=300, runtime=rt)
    health = pk.Health(db, redis, claude, perplexity)

    async def research(topic: str) -> str:
        return f"facts about {topic}"

    async def load() -> dict[str, list[int]]:
        return {"n": [1, 2]}

    async with pk.running(db, redis, claude, answers):
        with pk.Deadline.after(20):
            decision = await limiter.check((ratelimit.Limit("10/hour", name="upload"), "user 7"))
            assert decision.allowed
            assert decision.remaining == 9
            avatar = await avatars.check(chunks(png()), filename="eu.png", declared_type="image/png")
            assert (avatar.media_type, avatar.width, avatar.height, avatar.frames) == ("image/png", 32, 16, 1)
            clean = await avatars.check(png(), filename="eu.png", declared_type="image/png", sanitise=True)
            assert clean.extension.lstrip(".") == "png"
            with pytest.raises(pk.InvalidFileError) as refused:
                await avatars.check(io.BytesIO(b"MZ\x90"), filename="eu.png", declared_type="image/png")
            assert all(problem.code and problem.message for problem in refused.value.problems)
            answer = await claude.create(
                max_tokens=800, system="Be brief.", messages=[{"role": "user", "content": "Bread?"}]
            )
            assert answer.text
            assert answer.requested_model == answer.model == "claude-sonnet-5-5"
            assert len(answer.attempts) == 1
            assert answer.usage is not None
            assert answer.raw is not None
            pieces = []
            async with claude.stream(
                max_tokens=800, messages=[{"role": "user", "content": "Butter?"}]
            ) as stream:
                async for text in stream.text:
                    pieces.append(text)
            assert "".join(pieces)
            key = cache.make_cache_key("council", "q")
            for _ in range(2):
                assert await answers.get_or_set(key, load, ttl=3600, tags=["u:7"]) == {"n": [1, 2]}
            await answers.invalidate_tags("u:7")
            assert await answers.get(key, None) is None
            assert [row[0] for row in await db.fetch("select 1")] == [1]
            async with db.transaction() as tx:
                assert await tx.fetchval("select 2") == 2
            facts = await pk.Pipeline(pk.Retry(attempts=3), perplexity, pk.Timeout(5), runtime=rt).run(
                research, "bread"
            )
            assert facts == "facts about bread"
        report = await health.report()
        assert report.status == ("up" if with_redis else report.status)
        assert report.status != "down"
    logging.close()
    said = lines.getvalue()
    assert "llm.finished" in said
    for secret in (environ["ANTHROPIC_API_KEY"], environ["SESSION_SECRET"]):
        assert secret not in said
        assert secret not in repr(settings)
