"""The contract with supabase-py: the same calls through ``supabase`` and through ``isobase``, on one server.

``scenarios_*`` are tables of calls, good and bad; ``kit`` runs them with either library, sync or async; ``shown`` turns what
came back, or what was raised, into plain values; ``differences`` lists where the two may differ, with the reason.
"""
