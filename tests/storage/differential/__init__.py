"""Storage beside the real supabase/storage: the same requests to both, compared by what comes back and what rows are left."""
