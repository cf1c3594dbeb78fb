"""Enforces NetworkPolicies (networking.k8s.io/v1) on a node of RealCluster, by rules for iptables: `policies.py KUBECONFIG HOST`, until it is ended.

What a network plugin does on other clusters, made here since the bridge of this node's pods has none. A pod that a policy selects takes, or makes,
only connections that some policy allows; others are dropped without an answer. Those that are there already go on. As on any cluster a node
reaches all its pods; here HOST, the machine around it, does too.
"""

import base64
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx

Object = Mapping[str, Any]

READY = "policies are enforced"

_CHAIN = "PARLEY"
_PAUSE = 0.3
_LISTS = ("apis/networking.k8s.io/v1/networkpolicies", "api/v1/pods", "api/v1/namespaces")
_OPERATORS: Mapping[str, Callable[[Object, Object], bool]] = {
    "In": lambda labels, one: labels.get(one["key"]) in one["values"],
    "NotIn": lambda labels, one: labels.get(one["key"]) not in one["values"],
    "Exists": lambda labels, one: one["key"] in labels,
    "DoesNotExist": lambda labels, one: one["key"] not in labels,
}


@dataclass(frozen=True)
class _World:
    pods: Sequence[Object]
    namespaces: Mapping[str, Object]

    def peers(self, peer: Object, home: str) -> Iterator[tuple[str, Object | None]]:
        """Addresses that a peer of a policy in `home` means, and the pod if it is one."""
        if not peer:
            yield "0.0.0.0/0", None
        elif block := peer.get("ipBlock"):
            if ":" in block["cidr"]:
                return  # the node has no such addresses
            left = [_net(block["cidr"])]
            for hole in map(_net, block.get("except") or ()):
                left = [part for net in left for part in _without(hole, net)]
            yield from ((str(net), None) for net in left)
        else:
            for pod in self.pods:
                namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
                if (of := peer.get("namespaceSelector")) is None:
                    near = namespace == home
                else:
                    near = _matches(of, self.namespaces.get(namespace, {}))
                if near and _matches(peer.get("podSelector") or {}, labels):
                    yield pod["status"]["podIP"], pod


def rules(policies: Sequence[Object], pods: Sequence[Object], namespaces: Sequence[Object], host: str) -> str:
    """What iptables-restore makes of them in the table `mangle`, which sees a connection to a Service on its way to the pod."""
    world = _World(
        [one for one in pods if _has_an_address(one)],
        {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces},
    )
    jumps: dict[str, list[str]] = {"Egress": [], "Ingress": []}
    chains: dict[str, list[str]] = {}
    for pod in world.pods:
        address = pod["status"]["podIP"]
        for direction, flag in (("Egress", "-s"), ("Ingress", "-d")):
            mine = [one for one in policies if _about(one, pod, direction)]
            if mine:
                chain = f"{_CHAIN}-{direction[0]}-{address}"
                allowed = {line for one in mine for line in _allowed(one, pod, direction, world)}
                chains[chain] = [*(f"{line} -j RETURN" for line in sorted(allowed)), "-j DROP"]
                jumps[direction].append(f"{flag} {address} -j {chain}")
    first = ["-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"]
    chains = {_CHAIN: [*first, *jumps["Egress"], f"-s {host} -j RETURN", *jumps["Ingress"]], **chains}
    return "\n".join(
        [
            "*mangle",
            *(f":{name} - [0:0]" for name in chains),
            *(f"-A {name} {line}" for name, lines in chains.items() for line in lines),
            "COMMIT\n",
        ]
    )


def _net(cidr: str) -> IPv4Network:
    return IPv4Network(cidr, strict=False)


def _without(hole: IPv4Network, net: IPv4Network) -> Iterable[IPv4Network]:
    return net.address_exclude(hole) if hole.subnet_of(net) else [net]


def _has_an_address(pod: Object) -> bool:
    status = pod["status"]
    ended = status.get("phase") in ("Succeeded", "Failed")
    return bool(status.get("podIP")) and not ended and not pod["spec"].get("hostNetwork")


def _matches(selector: Object, labels: Object) -> bool:
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _OPERATORS[one["operator"]](labels, one) for one in selector.get("matchExpressions") or ()
    )


def _about(policy: Object, pod: Object, direction: str) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    return (
        direction in kinds
        and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and _matches(spec.get("podSelector") or {}, pod["metadata"].get("labels") or {})
    )


def _allowed(policy: Object, pod: Object, direction: str, world: _World) -> Iterator[str]:
    """Matches of iptables for connections of the pod that the policy allows."""
    flag, side = ("-s", "from") if direction == "Ingress" else ("-d", "to")
    for rule in policy["spec"].get(direction.lower()) or ():
        for peer in rule.get(side) or [{}]:
            for address, other in world.peers(peer, policy["metadata"]["namespace"]):
                called = pod if direction == "Ingress" else other
                for port in _ports(rule.get("ports") or (), called):
                    yield f"{flag} {address} {port}"


def _ports(ports: Sequence[Object], of: Object | None) -> Iterator[str]:
    """Matches for the ports of a rule; names are those of the containers of `of`."""
    if not ports:
        yield ""
    for one in ports:
        protocol, port = one.get("protocol", "TCP").lower(), one.get("port")
        if port is None:
            yield f"-p {protocol}"
        elif isinstance(port, int):
            yield f"-p {protocol} --dport {port}{':' + str(one['endPort']) if 'endPort' in one else ''}"
        elif of:
            for container in of["spec"]["containers"]:
                for named in container.get("ports") or ():
                    if named.get("name") == port and named.get("protocol", "TCP").lower() == protocol:
                        yield f"-p {protocol} --dport {named['containerPort']}"


def _enforce(kubeconfig: Path, host: str) -> None:
    config = json.loads(kubeconfig.read_text())
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    for chain in ("FORWARD", "INPUT"):
        _iptables("iptables", "-w", "-t", "mangle", "-N", _CHAIN, check=False)
        _iptables("iptables", "-w", "-t", "mangle", "-A", chain, "-j", _CHAIN)
    before = ""
    with httpx.Client(
        base_url=cluster["server"],
        headers={"authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cadata=authority),
        trust_env=False,
    ) as api:
        while True:
            try:
                policies, pods, namespaces = (_listed(api, one) for one in _LISTS)
            except httpx.HTTPError:
                continue  # the API server is away; what was said holds
            finally:
                time.sleep(_PAUSE)
            if (now := rules(policies, pods, namespaces, host)) != before:
                _iptables("iptables-restore", "-w", "--noflush", said=now)
                if not before:
                    sys.stdout.write(f"{READY}\n")
                    sys.stdout.flush()
                before = now


def _listed(api: httpx.Client, path: str) -> list[Object]:
    found: list[Object] = api.get(f"/{path}?resourceVersion=0").raise_for_status().json()["items"]
    return found


def _iptables(*command: str, said: str = "", check: bool = True) -> None:
    ran = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
    if check and ran.returncode != 0:
        sys.exit(f"{' '.join(command)}: {ran.stderr.strip()}\n{said}")


if __name__ == "__main__":
    _enforce(Path(sys.argv[1]), sys.argv[2])
