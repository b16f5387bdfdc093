"""Vector and analytics buckets of the real supabase/storage."""
