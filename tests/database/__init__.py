"""The data API."""
