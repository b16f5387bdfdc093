"""A socket and its channels: what each message of a client does. Sockets themselves are the edge's business."""
