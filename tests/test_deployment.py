"""The files that a site is deployed with name what is there: images, settings, secrets, ports, paths and commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from config.processes import commands

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
SECRETS = "/run/secrets/palate/"
# read by libraries
FOREIGN = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_HOME"}


def known_settings() -> set[str]:
    documented = re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    return {*documented, *FOREIGN}


def is_setting(name: str) -> bool:
    return name in known_settings() or name.removesuffix("_FILE") in known_settings()


# --- Kubernetes -----------------------------------------------------------------------------------------------


@cache
def files() -> dict[str, list[Any]]:
    """The documents of each file, by its path."""
    return {
        str(path.relative_to(KUBERNETES)): list(yaml.safe_load_all(path.read_text()))
        for path in KUBERNETES.rglob("*.yaml")
    }


def objects(kind: str) -> dict[str, Any]:
    """Those of the base, by name; not the patches, whose names are none."""
    resources = files()["base/kustomization.yaml"][0]["resources"]
    found = [
        document for name in resources for document in files()[f"base/{name}"] if document["kind"] == kind
    ]
    return {document["metadata"]["name"]: document for document in found}


def container(workload: Any) -> Any:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    assert only["name"] == "palate"  # what the patches look for
    return only


def config() -> dict[str, str]:
    lines = (KUBERNETES / "base" / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_file_is_used() -> None:
    used = set()
    for path, (document, *_) in files().items():
        folder = Path(path).parent
        if document["kind"] in ("Kustomization", "Component"):
            used.add(path)
            used |= {str(folder / name) for name in document.get("resources", ()) if name.endswith(".yaml")}
            used |= {str(folder / patch["path"]) for patch in document.get("patches", ()) if "path" in patch}
    assert used == set(files())


def test_pods_get_settings_that_there_are() -> None:
    assert all(is_setting(name) for name in config()), [name for name in config() if not is_setting(name)]
    assert {name for name, value in config().items() if value.startswith(SECRETS)} == {
        name for name in config() if name.endswith("_FILE")
    }


def test_the_document_makes_every_secret_that_pods_read() -> None:
    read = {value.removeprefix(SECRETS) for value in config().values() if value.startswith(SECRETS)}
    document = (ROOT / "docs" / "deployment.md").read_text()
    assert read == set(re.findall(r"--from-(?:literal|file)=([a-z-]+)=", document))


def test_the_bucket_s_secrets_are_not_read_from_a_volume() -> None:
    (component,) = files()["volume/kustomization.yaml"]
    literals = dict(line.split("=", 1) for line in component["configMapGenerator"][0]["literals"])
    assert all(is_setting(name) for name in literals)
    assert {name for name in config() if name.startswith("AWS") and name.endswith("_FILE")} < set(literals)


def test_pods_run_the_processes_of_the_site() -> None:
    deployments = objects("Deployment")
    expected = {*commands(0), "beat"}
    assert set(deployments) == expected
    queues = {
        command[command.index("--queues") + 1] for command in commands(0).values() if "--queues" in command
    }
    args = {name: container(deployment).get("args", []) for name, deployment in deployments.items()}
    assert {line[line.index("--queues") + 1] for line in args.values() if "--queues" in line} == queues
    assert all(line[:3] == ["celery", "--app", "config"] for name, line in args.items() if name != "web")
    assert not args["web"]  # the image's own command
    assert deployments["beat"]["spec"]["strategy"] == {"type": "Recreate"}
    assert deployments["beat"]["spec"]["replicas"] == 1
    assert container(objects("Job")["migrate"])["args"] == ["python", "manage.py", "migrate"]


def test_images_are_targets_of_the_dockerfile() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    images = {
        container(workload)["image"] for kind in ("Deployment", "Job") for workload in objects(kind).values()
    }
    renamed = {entry["name"] for entry in files()["base/kustomization.yaml"][0]["images"]}
    assert images == renamed
    assert {image.removeprefix("palate-") for image in images} < targets


def test_ports_and_labels_lead_to_the_web_process() -> None:
    web = objects("Deployment")["web"]
    labels = web["spec"]["template"]["metadata"]["labels"]
    (port,) = container(web)["ports"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {port['containerPort']}" in dockerfile
    assert f'"--port", "{port["containerPort"]}"' in dockerfile
    service = objects("Service")["web"]["spec"]
    assert service["selector"] == labels
    assert service["ports"][0]["targetPort"] == port["name"]
    backend = objects("Ingress")["web"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "web", "port": {"name": service["ports"][0]["name"]}}
    assert objects("PodDisruptionBudget")["web"]["spec"]["selector"]["matchLabels"] == labels
    policy = objects("NetworkPolicy")["web"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["ingress"][0]["ports"] == [{"port": port["name"]}]
    for deployment in objects("Deployment").values():
        assert (
            deployment["spec"]["selector"]["matchLabels"]
            == deployment["spec"]["template"]["metadata"]["labels"]
        )


@pytest.mark.django_db
def test_probes_ask_for_what_answers() -> None:
    web = container(objects("Deployment")["web"])
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = web[name]["httpGet"]
        assert probe["port"] == web["ports"][0]["name"]
        assert Client(headers={"Host": "10.0.0.1"}).get(probe["path"]).status_code == 200


def test_pods_have_time_to_stop() -> None:
    seconds = {
        name: deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for name, deployment in objects("Deployment").items()
    }
    command = commands(0)["web"]
    pause = int(container(objects("Deployment")["web"])["lifecycle"]["preStop"]["exec"]["command"][1])
    assert seconds["web"] >= pause + int(command[command.index("--timeout-graceful-shutdown") + 1]) + 10
    assert seconds["trainer"] >= 45


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_it(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    volume = tmp_path / "kubernetes" / "site"
    volume.mkdir()
    (volume / "kustomization.yaml").write_text("resources: [../base]\ncomponents: [../volume]\n")
    for folder in ("base", "example", "site"):
        built = build(tmp_path / "kubernetes" / folder)
        pods = [each["spec"]["template"]["spec"] for each in built if each["kind"] in ("Deployment", "Job")]
        assert len(pods) == len(commands(0)) + 2
        (settings,) = (each["metadata"]["name"] for each in built if each["kind"] == "ConfigMap")
        for pod in pods:
            assert pod["securityContext"]["runAsNonRoot"]
            volumes = {each["name"] for each in pod["volumes"]}
            for each in (*pod["containers"], *pod.get("initContainers", ())):
                assert each["securityContext"]["readOnlyRootFilesystem"]
                assert each["image"].startswith("registry.example.")
                assert each["envFrom"] == [{"configMapRef": {"name": settings}}]
                assert {mount["name"] for mount in each["volumeMounts"]} <= volumes
                assert each["resources"]["limits"]["memory"]
        waiting = [pod for pod in pods if "initContainers" in pod]
        assert len(waiting) == len(commands(0))  # all but web and the migrations themselves
        gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in pods]
        assert gpus.count(1) == (folder == "example")
        assert sum("artifacts" in {each["name"] for each in pod["volumes"]} for pod in pods) == (
            len(pods) if folder == "site" else 0
        )


def build(folder: Path) -> list[Any]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


# --- compose --------------------------------------------------------------------------------------------------


@cache
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_compose_passes_settings_that_there_are() -> None:
    for name, service in compose()["services"].items():
        if "build" in service:
            assert all(is_setting(each) for each in service["environment"]), name


def test_compose_gives_secrets_as_files_only() -> None:
    declared = compose()["secrets"]
    assert "secrets" in (ROOT / ".dockerignore").read_text().splitlines()  # they must not get into an image
    for name, service in compose()["services"].items():
        environment = service.get("environment", {})
        read = {
            value.removeprefix("/run/secrets/") for key, value in environment.items() if key.endswith("_FILE")
        }
        assert read == set(service.get("secrets", ())) <= set(declared), name
        assert not {"SECRET_KEY", "DATABASE_PASSWORD", "POSTGRES_PASSWORD"} & set(environment)


def test_web_images_do_not_run_as_root_and_trust_nobody() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == [
        "1000",
        "1000",
    ]  # a number, for `runAsNonRoot`
    (command,) = re.findall(r'^CMD (\["uvicorn.*)', dockerfile, re.MULTILINE)
    assert "--no-proxy-headers" in json.loads(command)


# --- Prometheus -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_its_files(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "prometheus-rules.yml"):
        shutil.copy(ROOT / "deploy" / name, tmp_path)
    token = tmp_path / "token"
    token.write_text("token")
    config = tmp_path / "prometheus.yml"
    config.write_text(config.read_text().replace("/etc/prometheus/palate-token", str(token)))
    done = subprocess.run(
        ["promtool", "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 rules found" in done.stdout
