"""The ASGI app: routes, WebSocket and SSE endpoints, admission, parameters, problems."""
