// Node.js before 22 has no WebSocket of its own: preloaded where an example expects one (node --import ./websocket.mjs).
import ws from 'ws'
globalThis.WebSocket ??= ws
