"""The simple face: sign up, sign in, refresh, sign out for any HTTP client, over the same flows as the Supabase face."""

from isobase_services.auth.simple.endpoints import simple_app

__all__ = ["simple_app"]
