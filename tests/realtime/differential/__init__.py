"""Realtime beside the real supabase/realtime: the same frames sent to both, the frames that come back compared."""
