"""deploy/kubernetes against the schemas of Kubernetes, and against what the service needs and offers."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.assembly import build_metrics
from app.settings import Settings

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.34", "1.37")
"""`sleep` as a hook is from 1.30 on."""
CUSTOM = ("ServiceMonitor", "ScaledObject")
BASE = [
    document
    for name in yaml.safe_load((ROOT / "base" / "kustomization.yaml").read_text())["resources"]
    for document in yaml.safe_load_all((ROOT / "base" / name).read_text())
]


def named(kind: str, name: str, documents: list[dict[str, Any]] = BASE) -> dict[str, Any]:
    return next(each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))


def rendered(overlay: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders overlays, is not installed")
    done = subprocess.run([kubectl, "kustomize", ROOT / "overlays" / overlay], capture_output=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def validate(documents: list[dict[str, Any]], version: str) -> None:
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


def container_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    spec = named("Deployment", "lapsrn", documents)["spec"]["template"]["spec"]
    container: dict[str, Any] = spec["containers"][0]
    return container


def test_every_file_is_listed_in_the_kustomization() -> None:
    files = {file.name for file in (ROOT / "base").iterdir()} - {"kustomization.yaml"}
    assert files == set(yaml.safe_load((ROOT / "base" / "kustomization.yaml").read_text())["resources"])


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid_for_the_kubernetes_schemas(version: str) -> None:
    validate(BASE, version)


def test_the_schemas_reject_a_misspelled_field() -> None:
    slip = yaml.safe_load(yaml.safe_dump(named("Service", "lapsrn")))
    slip["spec"]["port"] = slip["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate([slip], VERSIONS[0])


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
@pytest.mark.parametrize("version", VERSIONS)
def test_overlays_render_valid_manifests(overlay: str, version: str) -> None:
    documents = rendered(overlay)
    validate(documents, version)
    container = container_of(documents)
    assert container["resources"]["limits"]["memory"]
    assert container["image"] == f"lapsrn:{'cpu' if overlay == 'cpu' else 'cuda'}"
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) is (overlay == "gpu")


def test_every_variable_is_a_setting() -> None:
    known = {f"LAPSRN_{name.upper()}" for name in Settings.model_fields}
    patches = [
        yaml.safe_load(patch["patch"])
        for overlay in ("cpu", "gpu")
        for patch in yaml.safe_load((ROOT / "overlays" / overlay / "kustomization.yaml").read_text())["patches"]
    ]
    added = [step["value"]["name"] for patch in patches for step in patch if "/env/" in step["path"]]
    assert {each["name"] for each in container_of(BASE)["env"]} | set(added) <= known


def test_the_termination_grace_period_covers_the_shutdown_of_the_service() -> None:
    given = {each["name"]: each["value"] for each in container_of(BASE)["env"]}
    spec = named("Deployment", "lapsrn")["spec"]["template"]["spec"]
    seconds = float(given["LAPSRN_LAME_DUCK_SECONDS"]) + float(given["LAPSRN_GRACE_SECONDS"]) + 10
    hook = container_of(BASE)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= seconds + hook


def test_scaling_and_alerts_use_existing_metrics() -> None:
    exposed = build_metrics().expose("")[0].decode()
    query = named("ScaledObject", "lapsrn")["spec"]["triggers"][0]["metadata"]["query"]
    for name in ("lapsrn_queue_tiles", "lapsrn_batch_tiles_sum"):
        assert name in query
        assert f"\n{name}" in exposed


def test_selectors_and_ports_match() -> None:
    labels = named("Deployment", "lapsrn")["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in container_of(BASE)["ports"]}
    service = named("Service", "lapsrn")
    assert service["spec"]["selector"].items() <= labels.items()
    assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
    monitor = named("ServiceMonitor", "lapsrn")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {each["port"] for each in monitor["endpoints"]} <= {each["name"] for each in service["spec"]["ports"]}
    assert named("PodDisruptionBudget", "lapsrn")["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", ["lapsrn", "lapsrn-redis"])
def test_pods_are_hardened(name: str) -> None:
    spec = named("Deployment", name)["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        context = container["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
