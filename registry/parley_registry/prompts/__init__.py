"""Prompts: versioned templates that an executor loads by name and label. Start at `prompt` (the values), then `source` (the port).

prompt, template → check, changes → library → records/{sql,nacos} · routes (the service) · http (its client) · reader
(what executors use). May be imported by `catalogue`, `service` and `client`; imports the registry's errors, versions and card limits.
"""
