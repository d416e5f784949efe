"""SQL, and nothing else: one class a subject, each handed the pool."""
