"""The Kubernetes API as the operator needs it: calls, watched caches, the lease of the leader, events."""
