"""The HTTP and WebSocket server: Hypercorn, its connections, and what one client may cost."""
