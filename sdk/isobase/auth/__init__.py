"""The auth client: the public names of the package ``supabase_auth``."""
