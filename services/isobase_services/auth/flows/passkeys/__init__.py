"""Passkeys: registering them, signing in with one, managing them. Contracts auth section 1; supabase/auth internal/api."""
