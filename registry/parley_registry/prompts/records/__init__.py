"""Backends of the record of prompts: the registry's own database, and Nacos."""
