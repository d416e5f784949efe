"""Decode and re-encode images in a child process that can be killed."""
