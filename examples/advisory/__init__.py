"""O Conselho: the reference app of prodkit. ``python -m advisory demo`` shows it."""
