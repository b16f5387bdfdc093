"""The simple face ``/realtime``: rooms, channels and row changes as JSON actions, for clients without any library."""
