"""The version of the client, which is the distribution's."""

__version__ = "0.1.0"
