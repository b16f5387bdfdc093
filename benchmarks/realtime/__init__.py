"""Realtime measured: see ``__main__``."""
