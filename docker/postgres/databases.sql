-- Run once, when the database server is first started: one role and one database each for MLflow and for searches.
-- The passwords come from the environment, so that no command line shows them.
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv search_password SEARCH_DB_PASSWORD

CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;

CREATE ROLE search LOGIN PASSWORD :'search_password';
CREATE DATABASE search OWNER search;
REVOKE CONNECT ON DATABASE search FROM PUBLIC;
