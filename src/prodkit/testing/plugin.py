"""A pytest plugin: fixtures for real servers and faults."""
