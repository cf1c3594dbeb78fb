#!/bin/sh
# Makes the Secrets of the trial with passwords of their own; those that are there stay. trial-secrets.sh [NAMESPACE]
set -eu
namespace=${1:-parley}
have() { kubectl -n "$namespace" get secret "$1" >/dev/null 2>&1; }
make() { kubectl -n "$namespace" create secret generic "$@"; }
password() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
kept() { kubectl -n "$namespace" get secret parley-postgresql -o "jsonpath={.data.$1}" | base64 -d; }

have parley-postgresql || make parley-postgresql --from-literal=postgres="$(password)" \
    --from-literal=parley="$(password)" --from-literal=registry="$(password)"
host=parley-postgresql.$namespace.svc:5432
have parley-platform || make parley-platform --from-literal=PARLEY_STORE="postgresql://parley:$(kept parley)@$host/parley"
have parley-registry || make parley-registry --from-literal=PARLEY_REGISTRY_STORE="postgresql://registry:$(kept registry)@$host/registry"
