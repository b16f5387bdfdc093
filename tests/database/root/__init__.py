"""The document at the root of the data API."""
