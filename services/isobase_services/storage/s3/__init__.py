"""The S3 protocol at ``/storage/v1/s3``: AWS Signature Version 4, XML, path-style addresses, on the core of storage."""
