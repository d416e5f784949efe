"""The shared foundation: clock, deadline, events, health checks, lifespan, redaction. Standard library only."""
