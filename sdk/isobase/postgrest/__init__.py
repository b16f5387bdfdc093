"""The data client: the public names of the package ``postgrest``."""
