"""WebSockets of the server: uvicorn does the handshake, then an app may take the bare socket (``http.raw_socket``).

``reader`` turns a client's bytes into messages, ``socket`` is an adopted connection, ``protocol`` the class for uvicorn.
"""

from __future__ import annotations

from isobase_deploy.websocket.protocol import WebSocketProtocol

__all__ = ["WebSocketProtocol"]
