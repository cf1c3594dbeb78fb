"""MCP servers, catalogued beside agents. Start at `server` (the values).

server → check, wire → record (the database) → library → routes (the service) · http (its client) · mirror (from Nacos).
May be imported by `catalogue`, `service` and `client`.
"""
