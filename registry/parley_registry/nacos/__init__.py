"""All that knows how Nacos is spoken to. Start at `server.Nacos`, which holds the parts; `registry.NacosRegistry` is what hosts use.

May be imported by `client.connect` and by `backends.nacos`. Imports the registry's values (card, entry, errors, versions).
"""
