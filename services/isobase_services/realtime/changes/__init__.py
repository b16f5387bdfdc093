"""Row changes: from PostgreSQL's write-ahead log, under row-level security, to the channels that asked for them.

parse (``request``, ``pgoutput``) -> plan (``groups``) -> execute (``catalog``, ``visibility``) -> render (``values``,
``render``); ``stream`` reads the log, ``delivery`` is the pipeline, ``feed`` is the face that channels see.
"""
