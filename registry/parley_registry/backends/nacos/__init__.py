"""The record in Nacos, with a copy in a database that is served. Start at `record.NacosRecord`."""

from parley_registry.backends.nacos.record import NacosRecord

__all__ = ["NacosRecord"]
