"""Research over public sources: plain values and functions, no I/O. The worker and the store are its shells."""
