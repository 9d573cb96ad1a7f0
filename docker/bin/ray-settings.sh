# shellcheck shell=sh
# Sourced by what starts Ray.

export RAY_USAGE_STATS_ENABLED=0
# A node that is told to stop would wait half a minute for its pack workers to fall idle, which they never do.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

# The token goes from the environment, which every child would inherit, into a file that only this user reads. Without a
# token nothing starts.
export RAY_AUTH_MODE=token
: "${RAY_AUTH_TOKEN_PATH:?names the file for the token of the cluster}"
if [ -n "${RAY_AUTH_TOKEN:-}" ]; then
    (
        umask 077
        printf '%s' "$RAY_AUTH_TOKEN" > "$RAY_AUTH_TOKEN_PATH.$$"
        mv "$RAY_AUTH_TOKEN_PATH.$$" "$RAY_AUTH_TOKEN_PATH"
    )
    unset RAY_AUTH_TOKEN
elif [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
    echo "RAY_AUTH_TOKEN is empty, and so is $RAY_AUTH_TOKEN_PATH; docker/secrets.sh makes a token" >&2
    exit 2
fi
