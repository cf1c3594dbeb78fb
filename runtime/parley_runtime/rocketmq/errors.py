"""What can go wrong between this client and a RocketMQ cluster."""

from parley_core.errors import ParleyError, Unavailable


class RocketError(ParleyError):
    """RocketMQ refused a call for good; `code` is its status code (see its definition.proto)."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class TopicMissing(RocketError):
    """The topic does not exist (or the proxy still remembers that it did not)."""


class TooManyLiteTopics(RocketError):
    """The broker holds as many lite topics as its `maxLmqConsumeQueueNum` allows."""


class RocketAway(Unavailable):
    """The proxy, a broker or the name server does not answer now. What was sent may or may not have arrived."""
