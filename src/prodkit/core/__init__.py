"""What all parts share: one clock, one deadline, one event stream, one health check, one lifespan."""
