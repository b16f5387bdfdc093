"""The client of edge functions: the public names of the package ``supabase_functions``."""
