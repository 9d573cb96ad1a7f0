#!/bin/sh
# MLflow's server: runs in the database at MLFLOW_BACKEND_STORE_URI, files in MLFLOW_ARTIFACTS_DESTINATION, handed to
# clients by the server itself. The password of the database is in PGPASSWORD, not in the address, which is logged.
set -eu
: "${MLFLOW_BACKEND_STORE_URI:?is the address of the database, like postgresql+psycopg2://mlflow@postgres:5432/mlflow}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?is the folder of the artifacts}"
: "${MLFLOW_SERVER_ALLOWED_HOSTS:?lists the names, with ports, under which the server may be asked}"
export MLFLOW_BACKEND_STORE_URI MLFLOW_ARTIFACTS_DESTINATION MLFLOW_SERVER_ALLOWED_HOSTS
# Nothing here needs jobs, which take four times the memory; pickles run code of whoever wrote them.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
export MLFLOW_DISABLE_TELEMETRY=true
exec mlflow server --serve-artifacts \
    --host "${MLFLOW_HOST:-127.0.0.1}" \
    --port "${MLFLOW_PORT:-5000}" \
    --workers "${MLFLOW_WORKERS:-2}"
