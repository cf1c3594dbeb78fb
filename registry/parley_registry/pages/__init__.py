"""The registry's web pages: server-rendered (Jinja2), improved by htmx, without a build step. Begin at `site.install`.

Everything that cards and agents say is data of others: it is escaped, linked only when it is http(s), never followed here.
"""
