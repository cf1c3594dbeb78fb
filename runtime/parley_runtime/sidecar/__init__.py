"""The durable front beside any A2A server: `server` (the one behind), `ids` (its names and ours), `mirror` (its task in our log),
`following` (one execution), `forwarder` (the executor). Start reading there."""
