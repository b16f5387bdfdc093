"""The outbox: writes that one side does not have yet.

``entries`` says what is kept of them, ``postgres`` keeps them in the Isobase side's database, ``sqlite`` in a file (a
client without that database), ``spool`` in a file of one process while the database is away, and ``letters`` is what
operators do with those that cannot be carried. docs/migration/outbox.md is the reader's side of it.
"""
