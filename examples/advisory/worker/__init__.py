"""Runs the council's jobs, in the app's process or in one of its own."""
