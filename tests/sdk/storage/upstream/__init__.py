"""Vector and analytics buckets of the real supabase/storage: Isobase has none of their routes."""
