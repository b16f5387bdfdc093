"""The storage client against a running Isobase."""
