"""One structure walker per format: bytes in, facts out. Pure functions; nothing here decodes a picture.

A walker raises :class:`~prodkit.files.formats.base.RefusedError` at the first thing that a decoder should never meet.
"""
