"""The overlay for Ray, against the fields of a RayService, the schemas of Kubernetes and deploy/ray."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "ray"
VERSIONS = ("1.34", "1.37")
SCHEMA = yaml.safe_load(Path(__file__).with_name("rayservice.schema.yaml").read_text())


def service() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((OVERLAY / "rayservice.yaml").read_text())
    return document


def groups() -> list[dict[str, Any]]:
    cluster = service()["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_the_manifest_is_valid_for_the_ray_service_schema() -> None:
    jsonschema_rs.validate(SCHEMA, service())


def test_the_schema_rejects_a_misspelled_field() -> None:
    slip = service()
    slip["spec"]["rayClusterConfig"]["workerGroupSpec"] = slip["spec"]["rayClusterConfig"].pop("workerGroupSpecs")
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(SCHEMA, slip)


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_are_valid_for_the_kubernetes_schemas(version: str) -> None:
    for group in groups():
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


def test_pods_are_hardened() -> None:
    for group in groups():
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})


def test_the_manifest_serves_the_same_as_serve_yaml() -> None:
    served = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    for application in served["applications"]:
        application.pop("runtime_env")
    assert yaml.safe_load(service()["spec"]["serveConfigV2"]) == served


def test_every_variable_is_a_setting() -> None:
    known = {f"LAPSRN_{name.upper()}" for name in Settings.model_fields}
    served = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    given = {name for each in served["applications"] for name in each["runtime_env"]["env_vars"]}
    for group in groups():
        given |= {each["name"] for each in group["template"]["spec"]["containers"][0].get("env", [])}
    assert given <= known


def test_the_ray_version_is_the_pinned_one() -> None:
    pins = (ROOT / "pyproject.toml").read_text()
    assert f"ray[serve]=={service()['spec']['rayClusterConfig']['rayVersion']}" in pins


def test_the_grace_period_of_a_worker_pod_covers_that_of_its_replica() -> None:
    (deployment,) = yaml.safe_load(service()["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    worker = groups()[1]["template"]["spec"]
    grace = float(Settings().grace_seconds)
    assert worker["terminationGracePeriodSeconds"] > deployment["graceful_shutdown_timeout_s"] > grace + 10
    limit = worker["containers"][0]["resources"]["limits"]
    assert float(limit["cpu"]) >= deployment["ray_actor_options"]["num_cpus"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_overlay_renders_ray_and_redis_only(version: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders overlays, is not installed")
    done = subprocess.run([kubectl, "kustomize", OVERLAY], capture_output=True, check=True)
    documents = list(yaml.safe_load_all(done.stdout))
    names = {(each["kind"], each["metadata"]["name"]) for each in documents}
    redis = {(kind, "lapsrn-redis") for kind in ("Deployment", "Service", "NetworkPolicy")}
    assert names == {("RayService", "lapsrn"), *redis}
    for document in documents:
        if document["kind"] == "RayService":
            jsonschema_rs.validate(SCHEMA, document)
        else:
            kubernetes_validate.validate(document, version, strict=True)
