"""The ASGI app: routes, WebSocket and SSE endpoints, admission, parameters, error responses."""
