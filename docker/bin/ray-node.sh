#!/bin/sh
# A node of the Ray cluster at RAY_ADDRESS. It gets one pack worker for each of its RAY_CPUS, by default all that it
# may use, or for each GPU. What is given goes to `ray start`.
set -eu
: "${RAY_ADDRESS:?is HOST:PORT of the head}"
# shellcheck source=ray-settings.sh
. "$(dirname "$0")/ray-settings.sh"
exec ray start --block --disable-usage-stats \
    --address="$RAY_ADDRESS" \
    --node-manager-port="${RAY_NODE_PORT:-6380}" \
    --object-store-memory="${RAY_OBJECT_STORE:-268435456}" \
    ${RAY_CPUS:+--num-cpus="$RAY_CPUS"} \
    ${RAY_NODE_IP:+--node-ip-address="$RAY_NODE_IP"} \
    "$@"
