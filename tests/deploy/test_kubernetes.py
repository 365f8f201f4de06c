"""deploy/kubernetes: the API's own schemas take each manifest, and what they name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.composed import BIN, ROOT, composed
from workers.config import POLL, SUBMIT, TICKS

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
}
KEDA = {
    "ScaledObject": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "triggers"}
    | {"pollingInterval", "cooldownPeriod"},
    "TriggerAuthentication": {"secretTargetRef"},
}


def documents(*paths: Any) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from yaml.safe_load_all(path.read_text())


EVERYTHING = list(documents(*FILES))
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in EVERYTHING
    if "template" in one.get("spec", {})
}


def containers(name: str) -> list[dict[str, Any]]:
    return [*PODS[name].get("initContainers", ()), *PODS[name]["containers"]]


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_the_schemas_take_them(version: str) -> None:
    for document in EVERYTHING:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed here")
def test_kustomize_renders_all_of_it() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    kinds = sorted((one["kind"], one["metadata"]["name"]) for one in rendered)
    written = (one for one in EVERYTHING if one["kind"] != "Secret")
    assert kinds == sorted((one["kind"], one["metadata"]["name"]) for one in written)
    for one in rendered:
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "orchestrator"


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_locked(name: str) -> None:
    pod = PODS[name]["securityContext"]
    assert pod["runAsNonRoot"], name
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert PODS[name]["automountServiceAccountToken"] is False
    for container in containers(name):
        context = container["securityContext"]
        assert LOCKED.items() <= context.items()
        assert context["capabilities"]["drop"] == ["ALL"]
        assert set(context["capabilities"].get("add", ())) <= {"NET_BIND_SERVICE"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_names_is_there(name: str) -> None:
    maps = {one["metadata"]["name"] for one in EVERYTHING if one["kind"] == "ConfigMap"}
    (example,) = (one for one in EVERYTHING if one["kind"] == "Secret")
    (settings,) = (one for one in EVERYTHING if one["metadata"]["name"] == "settings")
    volumes = {volume["name"] for volume in PODS[name]["volumes"]}
    claims = {"journal"} if name.startswith("worker-") else set()
    mounted = next(v["secret"] for v in PODS[name]["volumes"] if v["name"] == "secrets")
    keys = {item["path"] for item in mounted["items"]}
    assert keys <= example["stringData"].keys()
    for container in containers(name):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims
        for source in container.get("envFrom", ()):
            assert source["configMapRef"]["name"] in maps
        told = {one["name"]: one["value"] for one in container.get("env", ())}
        told |= settings["data"] if container.get("envFrom") else {}
        files = [value for key, value in told.items() if key.endswith("_FILE")]
        assert {path.removeprefix("/run/secrets/orchestrator/") for path in files} <= keys


def test_only_who_sends_has_the_api_key() -> None:
    having = {
        name
        for name, pod in PODS.items()
        if any("mindvideo_api_key" in str(v.get("secret")) for v in pod["volumes"])
    }
    assert having == {"worker-submit", "worker-poll"}


def test_budgets_and_services_select_pods() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in EVERYTHING if has_pod(one)]
    for one in EVERYTHING:
        if one["kind"] in {"PodDisruptionBudget", "Service", "StatefulSet", "Deployment"}:
            wanted = one["spec"]["selector"]
            wanted = wanted.get("matchLabels", wanted)
            assert sum(wanted.items() <= found.items() for found in labels) == 1, one
    budgets = {
        one["metadata"]["name"] for one in EVERYTHING if one["kind"] == "PodDisruptionBudget"
    }
    assert budgets == {"worker-submit", "worker-poll", "beat"}


def has_pod(one: dict[str, Any]) -> bool:
    return "template" in one.get("spec", {})


@pytest.mark.skipif(not (BIN / "docker-compose").exists(), reason="no wheel of Docker Compose here")
def test_they_run_what_compose_runs() -> None:
    """The commands that were tried are these."""
    services = composed("--profile", "*")["services"]
    for name in ("migrate", "worker-submit", "worker-poll", "metrics"):
        assert containers(name)[-1]["args"] == services[name]["command"]
        assert PODS[name].get("terminationGracePeriodSeconds", 10) == grace(services[name])
    assert containers("beat")[0]["args"] == services["beat-1"]["command"]
    assert containers("flower")[1]["args"] == services["proxy"]["command"]
    (proxy,) = (one for one in EVERYTHING if one["metadata"]["name"] == "proxy")
    assert proxy["data"]["Caddyfile"] == (ROOT / "deploy/compose/Caddyfile").read_text()


def grace(service: dict[str, Any]) -> int:
    return {"2m0s": 120, None: 10}[service.get("stop_grace_period")]


def test_every_queue_has_a_worker() -> None:
    found = [container["args"] for name in PODS for container in containers(name)]
    queues = [args[args.index("-Q") + 1].split(",") for args in found if "-Q" in args]
    assert sorted(queue for names in queues for queue in names) == sorted((SUBMIT, POLL, TICKS))


def test_scaling_looks_at_queues_of_workers_that_are_there() -> None:
    """KEDA's kinds have no schema here: each field is one of those that we know it has."""
    for one in documents(FOLDER / "keda" / "scaling.yaml"):
        assert one["apiVersion"] == "keda.sh/v1alpha1"
        assert one["spec"].keys() <= KEDA[one["kind"]]
        if one["kind"] != "ScaledObject":
            continue
        target, (trigger,) = one["spec"]["scaleTargetRef"], one["spec"]["triggers"]
        (scaled,) = (
            one
            for one in EVERYTHING
            if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
        )
        arguments = scaled["spec"]["template"]["spec"]["containers"][0]["args"]
        assert trigger["metadata"]["listName"] in arguments[arguments.index("-Q") + 1].split(",")
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert re.fullmatch(r"[\w.-]+:\d+", trigger["metadata"]["address"])
        assert one["spec"]["minReplicaCount"] <= scaled["spec"]["replicas"]
