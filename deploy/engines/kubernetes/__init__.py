"""A real Kubernetes on this machine: its programs, its control plane with nodes that only pretend, and a real node in namespaces of its own."""
