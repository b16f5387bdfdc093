"""Resumable uploads as TUS 1.0.0 speaks them: ``/upload/resumable`` of the Supabase face."""
