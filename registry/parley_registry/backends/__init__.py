"""Backends of the record port, by the scheme of their address."""
