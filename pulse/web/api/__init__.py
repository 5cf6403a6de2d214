"""The HTTP API, one module per group of routes, and its descriptions.

A group exports `routes(context)`, its routes, and `paths(schemas, symbols)`, their part of the OpenAPI document. A new
route touches its group's module; a new group also adds one entry to `GROUPS` in openapi.py.
"""
