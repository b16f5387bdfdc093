"""The Supabase face: the storage API as supabase-js and supabase-py speak it. Parses and renders, decides nothing."""
