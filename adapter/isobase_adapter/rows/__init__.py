"""Carries rows between the two sides' databases: catalog, keys, carriers (SQL and REST), sweep and sequences.

``catalog`` reads what the tables are, ``keys`` names rows as things, ``sql_carrier`` makes rows at the target what they
are at the source. docs/migration/rows.md tells it in plain words.
"""
