"""Settings that are read once, checked whole, and never print a secret.

python examples/01_env.py
"""

from prodkit import env


class Settings(env.Settings):
    environment: env.Environment = "development"
    database_url: env.PostgresUrl
    redis_url: env.RedisUrl | None = None
    anthropic_api_key: env.Secret
    session_secret: env.Secret = env.secret(min_length=32)


# A service calls Settings.load(), which reads os.environ; here the environment is made up.
broken = {
    "ENVIRONMENT": "prod",
    "DATABASE_URL": "postgresql+asyncpg://shop:hunter2@db/shop",
    "REDIS_URI": "redis://cache",
    "SESSION_SECRET": "changeme" * 4,
}
try:
    Settings.load(broken)
except env.EnvError as error:
    print(error)  # every problem at once, and no value

settings = Settings.load(
    {
        "DATABASE_URL": "postgresql://shop:hunter2@db/shop",
        "ANTHROPIC_API_KEY": "a-made-up-key",
        "SESSION_SECRET": "9f86d081884c7d659a2feaa0c55ad015",
    }
)
print(settings)
assert settings.database_url.reveal() == "postgresql://shop:hunter2@db/shop"
print(env.env_example(Settings))
