"""The outside sources, each behind a breaker, a deadline and a cache of its own."""
