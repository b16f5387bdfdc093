"""Measurements of the move from Supabase: how fast a copy is beside plain COPY, and verification beside a plain read."""
