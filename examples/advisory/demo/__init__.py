"""The embedded default: real PostgreSQL and Redis, a simulated model, an account that is signed in by itself."""
