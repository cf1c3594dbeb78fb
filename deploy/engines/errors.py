"""What an engine says when it cannot be had."""


class EngineError(Exception):
    """An engine is not installed, does not start or does not answer; the message says what to do."""
