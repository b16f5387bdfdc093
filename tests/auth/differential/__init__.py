"""Auth beside the real GoTrue: the same requests to both, compared by what comes back and what is left in the database."""
