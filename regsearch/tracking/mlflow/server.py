"""An MLflow server asked in good time whether it can be used, without importing MLflow."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from regsearch.errors import UserError
from regsearch.system.addresses import scrub
from regsearch.system.files import JsonObject

KEY = "tracking.uri"
TIMEOUT = (4.0, 5.0)
"""Seconds for the connection, and for the answer."""
_PATH = "/api/2.0/mlflow/experiments/get-by-name"


def ask_server(uri: str, experiment: str) -> bool:
    """Ask whether the server has an experiment of this name that is not deleted; it answers within ten seconds.

    User and password are those of the address, or as MLflow has them: MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

    Raises:
        UserError: it does not answer, refuses the user, has trouble, or is no MLflow server.
    """
    import requests

    try:
        with requests.get(
            uri.rstrip("/") + _PATH,
            params={"experiment_name": experiment},
            timeout=TIMEOUT,
            allow_redirects=False,
            **_as_mlflow_asks(uri),
        ) as answer:
            return _read(uri, answer.status_code, _json(answer))
    except requests.exceptions.RequestException as error:
        raise UserError(
            f"the MLflow server does not answer: {_reason(error, uri)}",
            key=KEY,
            value=uri,
            allowed="it must run, at this address",
        ) from None


def _as_mlflow_asks(uri: str) -> JsonObject:
    arguments: JsonObject = {}
    get = os.environ.get
    if urlsplit(uri).username is None:
        if get("MLFLOW_TRACKING_USERNAME"):
            arguments["auth"] = (get("MLFLOW_TRACKING_USERNAME"), get("MLFLOW_TRACKING_PASSWORD") or "")
        elif get("MLFLOW_TRACKING_TOKEN"):
            arguments["headers"] = {"Authorization": f"Bearer {get('MLFLOW_TRACKING_TOKEN')}"}
    if (get("MLFLOW_TRACKING_INSECURE_TLS") or "").lower() in ("true", "1"):
        arguments["verify"] = False
    elif get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        arguments["verify"] = get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    return arguments


def _json(answer: Any) -> JsonObject:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _read(uri: str, status: int, said: JsonObject) -> bool:
    if status in (401, 403):
        allowed = (
            "give them as http://USER:${PASSWORD}@HOST or as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
        raise UserError("the MLflow server refuses user or password", key=KEY, value=uri, allowed=allowed)
    if status == 404 and said.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
        return False
    if status == 200 and "experiment" in said:
        return bool(said["experiment"].get("lifecycle_stage", "active") == "active")
    if status >= 500:
        message = scrub(" ".join(str(said.get("message", "")).split()), uri)[:200]
        what = f"the MLflow server has trouble ({status}{': ' if message else ''}{message})"
        raise UserError(what, key=KEY, value=uri, allowed="its log says more; its database may be away")
    raise UserError(
        f"no MLflow server ({status})", key=KEY, value=uri, allowed="allowed is its address, http://HOST:PORT"
    )


def _reason(error: Exception, uri: str) -> str:
    """The innermost cause, which says most in few words."""
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    inner: Any = error
    while getattr(inner, "args", None) and isinstance(getattr(inner.args[0], "reason", inner.args[0]), BaseException):
        inner = getattr(inner.args[0], "reason", inner.args[0])
    text = " ".join(str(inner).split()) or type(inner).__name__
    return scrub(text.rpartition(": ")[2] or text, uri)[:200]
