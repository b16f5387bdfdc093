"""The async realtime client."""
