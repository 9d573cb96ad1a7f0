#!/bin/sh
# Makes .env from .env.example beside it, with a random value for each setting that is empty there: passwords and the
# token of the Ray cluster. Only its owner may read it. One that is there is left alone.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    chmod 600 .env
    echo ".env is there already and stays as it is" >&2
    exit 0
fi
umask 077
draw() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
new=".env.new.$$"
trap 'rm -f "$new"' EXIT
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        \#*) printf '%s\n' "$line" ;;
        *=) printf '%s%s\n' "$line" "$(draw)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < .env.example > "$new"
ln "$new" .env # fails, rather than replaces, where another one was made meanwhile
echo "docker/.env is written, with fresh secrets" >&2
