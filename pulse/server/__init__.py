"""The HTTP and WebSocket server: Hypercorn, its connections, and the bounds on what one client can cost."""
