"""The same requests to a real PostgREST and to the data API, on two databases of the same content."""
