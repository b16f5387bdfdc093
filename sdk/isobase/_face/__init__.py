"""What the clients of Isobase's simple face share (``isobase.db``, ``isobase.rooms``, ``isobase.uploads``): requests
and errors.

``errors`` and ``wire`` are pure; ``_async`` sends.
"""
