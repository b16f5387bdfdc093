"""Keeping rows and blobs in step: what runs beside the requests, in the server's worker or from the command line.

``rows`` reads the table of objects in pages, ``spill`` and ``inventory`` compare it with what a blob store holds in bounded
memory, ``check`` reports (and removes) what has no counterpart, ``move`` copies all objects to another store, ``worker`` does
the regular work of a server. Nothing here speaks HTTP, and no face imports it.
"""
