"""A Supabase of its real servers, as the side that an app leaves: ``make test-adapter-upstream``."""
