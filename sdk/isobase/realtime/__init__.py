"""The realtime client: the public names of the package ``realtime``."""
