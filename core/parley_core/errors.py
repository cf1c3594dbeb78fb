"""The one family of errors that Parley's parts raise at their edges.

Every message says what is wrong and what to do next; none carries a secret.
"""


class ParleyError(Exception):
    """Base of every error a user of Parley may meet. `str(error)` is fit to be shown."""


class ConfigurationError(ParleyError):
    """A setting is missing, malformed or in conflict with another."""


class Unavailable(ParleyError):
    """A part we depend on does not answer now; the same call may succeed later."""
