"""The storage client: the public names of the package ``storage3``."""
