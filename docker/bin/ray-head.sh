#!/bin/sh
# The head of a Ray cluster: it keeps the books and trains nothing. What is given goes to `ray start`.
set -eu
# shellcheck source=ray-settings.sh
. "$(dirname "$0")/ray-settings.sh"
exec ray start --head --block --disable-usage-stats --num-cpus=0 --num-gpus=0 \
    --port="${RAY_PORT:-6379}" \
    --node-manager-port="${RAY_NODE_PORT:-6380}" \
    --object-store-memory="${RAY_OBJECT_STORE:-268435456}" \
    --dashboard-host="${RAY_DASHBOARD_HOST:-127.0.0.1}" \
    --dashboard-port="${RAY_DASHBOARD_PORT:-8265}" \
    ${RAY_NODE_IP:+--node-ip-address="$RAY_NODE_IP"} \
    "$@"
