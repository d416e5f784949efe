"""A source file's unit test is found by its name. The files without one are listed: the list may only get shorter."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "prodkit"

# Tested through the package that they are a part of, or on servers; none may be added.
WITHOUT = [
    "backup/dumping.py",
    "backup/pruning.py",
    "backup/pump.py",
    "backup/restoring.py",
    "backup/scratch.py",
    "backup/verifying.py",
    "cache/cache_parts.py",
    "cache/decorator.py",
    "cache/invalidation.py",
    "cache/invalidation_listener.py",
    "cache/lease.py",
    "cache/loader.py",
    "cache/redis_reads.py",
    "cache/redis_scripts.py",
    "cache/redis_tier.py",
    "cache/tier_reads.py",
    "cli/adopt_table.py",
    "compat/aiobreaker.py",
    "compat/breaker_parts.py",
    "compat/pybreaker.py",
    "compat/tenacity_internals.py",
    "jobs/execution.py",
    "jobs/listening.py",
    "jobs/memory_runs.py",
    "jobs/pgqueuer_internals.py",
    "jobs/postgres_runs.py",
    "jobs/sql.py",
    "llm/event_stream.py",
    "llm/ledger_tables.py",
    "llm/middleware.py",
    "llm/models.py",
    "llm/operations.py",
    "llm/provider.py",
    "llm/sync_sender.py",
    "postgres/checkout.py",
    "postgres/growing.py",
    "postgres/inventory.py",
    "postgres/misuse.py",
    "postgres/operation.py",
    "postgres/replicas.py",
    "postgres/statements.py",
    "postgres/stock.py",
    "postgres/upkeep.py",
    "progress/redis_listener.py",
    "ratelimit/merging.py",
    "ratelimit/redis_scripts.py",
    "ratelimit/redis_store.py",
    "redis/availability.py",
    "redis/cluster.py",
    "redis/link_calls.py",
    "redis/scripts.py",
    "redis/shared_slots.py",
    "redis/topology.py",
    "sessions/postgres_store.py",
    "sync/caller.py",
    "testing/anthropic/exchange.py",
    "testing/contracts/jobs_engine.py",
    "testing/contracts/jobs_steps.py",
    "testing/contracts/jobs_waiting.py",
    "testing/contracts/provider.py",
    "testing/servers/_supervisor.py",
    "testing/servers/binaries.py",
    "testing/servers/directory.py",
    "testing/servers/redis.py",
    "testing/servers/redis_groups.py",
    "testing/trace.py",
    "testing/trace_upstream.py",
    "testing/uploads/devices.py",
    "testing/uploads/run.py",
    "testing/uploads/sample.py",
    "testing/uploads/score.py",
    "web/console_page.py",
    "web/console_parts.py",
    "web/console_view.py",
    "web/sessions.py",
]


def without_a_test() -> set[str]:
    tests = {each.name for folder in ("tests", "examples") for each in (ROOT / folder).rglob("test_*.py")}
    sources = (each for each in SOURCES.rglob("*.py") if not each.name.startswith("__"))
    return {
        each.relative_to(SOURCES).as_posix()
        for each in sources
        if "templates" not in each.parts and f"test_{each.stem.lstrip('_')}.py" not in tests
    }


def test_a_new_source_file_has_a_unit_test_of_its_name() -> None:
    added = without_a_test() - set(WITHOUT)
    assert not added, "write tests/<package>/test_<file>.py for " + ", ".join(sorted(added))
