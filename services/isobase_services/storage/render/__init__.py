"""Image transformation: what a request asks for, the processes that do it, and the cache of their results.

``transform`` (the request's words), ``formats`` and ``geometry`` (rules) are pure. ``worker`` is the program of the separate
processes in which foreign bytes are decoded, with ``pipeline`` (pyvips) and ``svg``; only there is libvips loaded, and so
these modules import nothing of the service. ``pool`` runs the processes, ``cache`` keeps results on disk; ``core.images``
puts them together. Source: contracts/storage.md 1.3; upstream ``src/storage/renderer/image.ts``.
"""
