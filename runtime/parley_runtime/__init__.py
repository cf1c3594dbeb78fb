"""The durable A2A host. See README.md for where to start."""

import os

# The SDK wraps a span around nearly every call of its own, at 1.6 times the cost of a request; the host makes its few.
os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
