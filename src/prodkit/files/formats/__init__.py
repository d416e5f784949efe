"""One structure walker a format: bytes in, facts out, and a :class:`~prodkit.files.formats.base.RefusedError`
at the first thing that a decoder should never meet. Nothing here reads a file, waits, or decodes a
picture.
"""
