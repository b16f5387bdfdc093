"""What auth does, without HTTP: each module plans one operation and executes it. Both faces call these."""
