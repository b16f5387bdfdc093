"""Requests made by a seeded generator over the schema ``lab``: what they are, and where version 14 answers otherwise."""
