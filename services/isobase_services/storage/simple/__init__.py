"""The simple face: upload a file, get its URL, delete it, for any HTTP client. True statuses, the house's error shape."""
