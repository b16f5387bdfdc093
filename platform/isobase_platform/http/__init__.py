"""The HTTP pieces that every service shares: request facts, bodies, error boundary, and the gateway's edge.

``request`` and ``body`` read, ``errors`` renders, ``edge`` stands before all mounts, ``probes`` answers health checks. All
are plain ASGI: no middleware of theirs buffers or copies a body.
"""
