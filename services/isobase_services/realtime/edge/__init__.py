"""Where HTTP and WebSockets come in: the handshake, the socket's two loops, the broadcast endpoints, and their errors."""
