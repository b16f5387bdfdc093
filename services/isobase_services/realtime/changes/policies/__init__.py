"""Policies of tables, judged on rows of the log.

``claims`` (what of a caller a policy reads) -> ``expression`` (a policy's condition as a value) <- ``parsing`` (from
PostgreSQL's text of it) -> ``rule`` (all policies of a table for a role, as a function) and ``statement`` (the same as SQL
over rows of the log, for what the function cannot decide). Nothing in here does I/O.
"""
