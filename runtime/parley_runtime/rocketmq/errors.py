"""What can go wrong between this client and a RocketMQ cluster."""

from parley_core.errors import ParleyError, Unavailable
from parley_runtime.rocketmq.credentials import ACCESS_KEY, SECRET_KEY


class RocketError(ParleyError):
    """RocketMQ refused a call for good; `code` is its status code (see its definition.proto)."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class NotAllowed(RocketError):
    """RocketMQ does not know the access key, or its user may not do this."""

    def __init__(self, where: str, said: str, code: int = 0) -> None:
        super().__init__(
            f"{where} refuses the access key of this process ({said.rstrip('.')}); check {ACCESS_KEY} and {SECRET_KEY}, or "
            "the file that ?credentials= names, and what the user may do",
            code,
        )


class TopicMissing(RocketError):
    """The topic does not exist (or the proxy still remembers that it did not)."""


class TooManyLiteTopics(RocketError):
    """The broker holds as many lite topics as its `maxLmqConsumeQueueNum` allows."""


class RocketAway(Unavailable):
    """The proxy, a broker or the name server does not answer now. What was sent may or may not have arrived."""


def untrusted(where: str) -> RocketAway:
    """What is said of a server whose certificate does not verify (it may be replaced at any time)."""
    return RocketAway(
        f"the certificate of {where} is not one that is trusted here, or is for another name; name the file of its authority's "
        "certificate with ?ca=/path"
    )
