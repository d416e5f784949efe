"""Decode and re-encode pictures in child processes that can be killed."""
