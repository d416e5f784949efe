"""Streamed answers: bytes to events, events to a message, a cut message continued.

::

    Stream.read ─ attempt.more ─ sse.Decoder        bytes become events
         │            └ FaultError                  the attempt failed: ask for the rest, or raise
         ├─ Assembler.feed ─ continuation.Overlap   events become text; repeated words are removed
         ├─ Encoder.feed                            events become Server-Sent Events again (middleware)
         └─ TypedEvents.feed                        events become objects (``Stream.events``)
"""
