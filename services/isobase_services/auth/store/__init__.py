"""The statements of auth on its own tables. Each function is one round trip; none decides anything."""
