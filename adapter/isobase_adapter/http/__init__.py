"""The seam of the adapter: HTTP transports that see every request of the official client and say where it goes.

``classify`` says what a request is, ``routing`` where it goes, ``rest_writes`` which rows a write changes,
``addresses`` puts a side's URL and keys into it, ``_async`` and ``_sync`` do the I/O. ``families`` is where auth and
storage plug their own handling in.
"""
