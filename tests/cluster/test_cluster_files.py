"""Every cluster file against the real schemas, against what the jobs ask for, and against our own metrics' names."""

import gzip
import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from inbol_ray.config.load import load_config
from inbol_ray.errors import ResourcesError
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.resources import NODE_TYPES_VARIABLE, check_asks, growth_limits, stage_asks

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CRDS = Path(os.environ.get("INBOL_CRDS", ROOT.parent / "shared" / "crds"))
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))
HEAD = {"CPU": 0.0, "node:__internal_head__": 1.0}
ANY_CLUSTER_FILE = [path for path in CLUSTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def documents(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kuberay_documents() -> list:
    return [
        pytest.param(document, id=f"{document['kind']}-{document['metadata']['name']}")
        for path in MANIFESTS
        for document in documents(path)
        if document["apiVersion"].startswith("ray.io/")
    ]


def strict(schema):
    """A CRD's schema as the API server applies it with strict field validation: unknown fields are errors."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {
        key: {name: strict(entry) for name, entry in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
    }
    if "properties" in result and not result.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if result.pop("nullable", False) and "type" in result:
        result["type"] = [result["type"], "null"]
    return result


@pytest.fixture(scope="module")
def crd_validators() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    files = sorted(CRDS.glob("*.yaml.gz"))
    if not files:
        pytest.skip(f"KubeRay's CRDs are not at ../shared/crds (or INBOL_CRDS): nothing to validate against ({CRDS})")
    validators = {}
    for file in files:
        crd = yaml.load(gzip.decompress(file.read_bytes()), Loader=yaml.CSafeLoader)  # a megabyte each
        for version in crd["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            validator = jsonschema.Draft202012Validator(schema)
            validators[crd["spec"]["names"]["kind"], f"ray.io/{version['name']}"] = validator
    return validators


@pytest.mark.parametrize("document", kuberay_documents())
def test_kuberay_manifests_follow_the_crds(document, crd_validators):
    crd_validators[document["kind"], document["apiVersion"]].validate(document)


def test_a_misspelt_field_is_found(crd_validators):
    [document] = documents(CLUSTER / "kuberay" / "raycluster.yaml")
    document["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        crd_validators[document["kind"], document["apiVersion"]].validate(document)


def test_the_cloud_cluster_follows_rays_schema():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    validate_config(prepare_config(config))
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(config | {"idle_timeout_minute": 3}))


def head_environment(container: dict) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def test_declared_growth_is_that_of_the_worker_groups():
    [cluster] = documents(CLUSTER / "kuberay" / "raycluster.yaml")
    [head] = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    declared = {kind.name: kind for kind in growth_limits(head_environment(head))}
    groups = {group["groupName"]: group for group in cluster["spec"]["workerGroupSpecs"]}
    assert declared.keys() == groups.keys()
    for name, group in groups.items():
        [container] = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        # Ray takes a pod's CPUs and GPUs from its limits; requests must not be lower, or the node is overbooked.
        assert container["resources"]["requests"] == limits
        resources = {"CPU": float(limits["cpu"])}
        if "nvidia.com/gpu" in limits:
            resources["GPU"] = float(limits["nvidia.com/gpu"])
        assert (declared[name].resources, declared[name].max_nodes) == (resources, group["maxReplicas"])


def test_declared_growth_of_the_cloud_cluster_is_that_of_its_node_types():
    config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    [text] = re.findall(NODE_TYPES_VARIABLE + r"='(.*?)'", " ".join(config["head_start_ray_commands"]))
    declared = {kind.name: (kind.resources, kind.max_nodes) for kind in growth_limits({NODE_TYPES_VARIABLE: text})}
    types = {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}
    assert declared == {name: (kind["resources"], kind["max_workers"]) for name, kind in types.items()}
    assert config["max_workers"] == sum(kind["max_workers"] for kind in types.values())


@pytest.mark.parametrize("source", ["kuberay", "aws"])
def test_every_stage_of_the_paper_fits_the_shipped_clusters(source):
    if source == "kuberay":
        [cluster] = documents(CLUSTER / "kuberay" / "raycluster.yaml")
        growth = growth_limits(head_environment(cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]))
    else:
        config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
        [text] = re.findall(NODE_TYPES_VARIABLE + r"='(.*?)'", " ".join(config["head_start_ray_commands"]))
        growth = growth_limits({NODE_TYPES_VARIABLE: text})
    options = ["--config", "jobs/configs/paper_llava15_7b.yaml"]

    def asks(*overrides: str):
        config = load_config([*options, *overrides])
        return {name: stage_asks(stage, config.engine) for name, stage in build_stages(config).items()}

    check_asks(asks(), [HEAD], growth)
    check_asks(asks("--engine.num_engines", "40"), [HEAD], growth)
    with pytest.raises(ResourcesError, match="lower engine.num_engines to 40"):
        check_asks(asks("--engine.num_engines", "41"), [HEAD], growth)


def pod_specs(node) -> list[dict]:
    """Every pod template's spec below a document."""
    if isinstance(node, list):
        return [spec for entry in node for spec in pod_specs(entry)]
    if not isinstance(node, dict):
        return []
    own = [node] if "containers" in node else []
    return own + [spec for value in node.values() for spec in pod_specs(value)]


def test_copies_stay_below_the_size_at_which_kubernetes_evicts_a_pod():
    checked = 0
    for document in (document for path in MANIFESTS for document in documents(path)):
        for spec in pod_specs(document):
            environment = {entry["name"]: entry.get("value") for entry in spec["containers"][0].get("env", ())}
            if folder := environment.get("INBOL_RAY_CACHE"):
                [name] = [
                    mount["name"] for mount in spec["containers"][0]["volumeMounts"] if mount["mountPath"] == folder
                ]
                [volume] = [volume for volume in spec["volumes"] if volume["name"] == name]
                limit = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) << 30
                assert int(environment["INBOL_RAY_CACHE_BYTES"]) < 0.95 * limit
                checked += 1
    assert checked == 5


def test_jobs_run_scripts_that_exist_on_the_shipped_cluster():
    [cluster] = documents(CLUSTER / "kuberay" / "raycluster.yaml")
    [settings] = documents(CLUSTER / "kuberay" / "settings.yaml")
    scripts = set()
    for job in documents(CLUSTER / "kuberay" / "rayjobs.yaml"):
        assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
        [script] = re.findall(r"jobs/(\w+)\.py", job["spec"]["entrypoint"])
        assert (ROOT / "jobs" / f"{script}.py").exists() and job["metadata"]["name"].endswith(script.replace("_", "-"))
        assert set(re.findall(r"\$(\w+)", job["spec"]["entrypoint"])) <= settings["data"].keys()
        scripts.add(script)
    assert scripts == {"unanswerable", "confidence", "build_data", "train", "evaluate", "calibrate", "pipeline"}
    assert (ROOT / settings["data"]["INBOL_CONFIG"]).exists()


@pytest.mark.parametrize("path", ANY_CLUSTER_FILE, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_no_file_holds_a_secret(path):
    text = path.read_text()
    assert not re.search(r"(?i)\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN|\b[0-9a-f]{32,}\b|\bhf_[A-Za-z0-9]{20,}", text)
    if path.suffix == ".yaml":
        for document in documents(path):
            assert document.get("kind") != "Secret"
            for entry in walk_environment(document):
                if re.search(r"(?i)key|secret|token|password", entry["name"]):
                    assert "value" not in entry, f"{entry['name']} has a literal value"


def walk_environment(node):
    """Every {name, value} entry below `env`."""
    if isinstance(node, dict):
        yield from (entry for entry in node.get("env", ()) if isinstance(entry, dict))
        node = list(node.values())
    if isinstance(node, list):
        for entry in node:
            yield from walk_environment(entry)


def test_nothing_listens_openly_by_default():
    """A dashboard is on loopback, or Ray's token is asked for: whoever reaches it may run code."""
    for path in (CLUSTER / "kuberay" / "raycluster.yaml", CLUSTER / "kuberay" / "rayservice.yaml"):
        [document] = documents(path)
        spec = document["spec"].get("rayClusterConfig", document["spec"])
        assert spec["authOptions"] == {"mode": "token"}
        assert "serviceType" not in spec["headGroupSpec"] and "enableIngress" not in spec["headGroupSpec"]
    commands = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    head = " ".join(commands["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head and "RAY_AUTH_MODE=token" in head
    assert all("RAY_AUTH_MODE=token" in line for line in commands["worker_start_ray_commands"] if "ray start" in line)
    local = (CLUSTER / "local.py").read_text()
    assert '"--dashboard-host=127.0.0.1"' in local and '"RAY_AUTH_MODE": "token"' in local
    assert "RAY_AUTH_MODE=token" in (CLUSTER / "Dockerfile").read_text()


def test_the_image_installs_the_pins_and_ships_no_data():
    text = (CLUSTER / "Dockerfile").read_text()
    for extra, target in (("cpu", "cpu"), ("gpu", "cuda")):
        [stage] = re.findall(rf"FROM base AS {target}\n(.*?)(?=\nFROM|\Z)", text, re.DOTALL)
        assert f"INBOL_EXTRA={extra} python cluster/setup_env.py" in stage
    for copied in re.findall(r"^COPY --chown=\S+ (.+)$", text, re.MULTILINE):
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists(), source
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".venv", "build", "data", "tests", ".git"} <= set(ignored)


def test_a_submitted_job_ships_code_and_nothing_large():
    excludes = yaml.safe_load((CLUSTER / "runtime_env.yaml").read_text())["excludes"]
    assert {".venv/", "build/", "tests/", "data/", "*.safetensors"} <= set(excludes)


def metric_names() -> set[str]:
    from inbol_ray.runtime import progress_sinks

    return {f"ray_{name}" for name in re.findall(r'Gauge\("(inbol_\w+)"', Path(progress_sinks.__file__).read_text())}


@pytest.mark.parametrize("path", ["rules.yaml", "grafana_dashboard.json"])
def test_rules_and_dashboard_use_metrics_that_exist(path):
    text = (CLUSTER / "monitoring" / path).read_text()
    used = set(re.findall(r"\bray_inbol_\w+", text))
    assert used and used <= metric_names()


def test_the_rules_are_rules():
    groups = yaml.safe_load((CLUSTER / "monitoring" / "rules.yaml").read_text())["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule.keys() <= {"record", "alert", "expr", "for", "labels", "annotations"}
        assert ("record" in rule) != ("alert" in rule)
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(re.findall(r"\binbol:\w+", rule["expr"])) <= recorded
        if "alert" in rule:
            assert rule["annotations"].keys() == {"summary", "description"} and "severity" in rule["labels"]


def test_the_dashboard_is_a_dashboard():
    dashboard = json.loads((CLUSTER / "monitoring" / "grafana_dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        assert panel["targets"] and all(target["expr"] for target in panel["targets"])
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "job"}


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments")  # Ray's own
def test_the_service_names_a_builder_that_exists(monkeypatch):
    from ray.serve.schema import ServeDeploySchema

    from inbol_ray.errors import ConfigError
    from inbol_ray.serving.app import build

    [document] = documents(CLUSTER / "kuberay" / "rayservice.yaml")
    [settings] = documents(CLUSTER / "kuberay" / "settings.yaml")
    config = ServeDeploySchema.model_validate(yaml.safe_load(document["spec"]["serveConfigV2"]))
    [application] = config.applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    assert set(re.findall(r"\$\{(\w+)\}", " ".join(application.args.values()))) <= settings["data"].keys()
    monkeypatch.setenv("INBOL_CONFIG", "jobs/configs/demo.yaml")
    with pytest.raises(ConfigError, match="--nothing|nothing: unknown key"):
        build({"config": "${INBOL_CONFIG}", "nothing": "1"})


def test_the_local_cluster_follows_rays_schema(tmp_path, monkeypatch):
    import argparse
    import importlib.util

    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.syspath_prepend(CLUSTER)
    spec = importlib.util.spec_from_file_location("cluster_local", CLUSTER / "local.py")
    local = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local)
    options = argparse.Namespace(max_workers=3, min_workers=0, idle_timeout_s=60, head_cpus=2)
    validate_config(prepare_config(local.autoscaler_config(tmp_path, "127.0.0.1:6390", "ab", options)))
    environment = local.cluster_environment(tmp_path, options)
    [growth] = growth_limits(environment)
    assert (growth.resources, growth.max_nodes) == ({"CPU": 2.0}, 3)
    token = tmp_path / "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(token) and token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64 and local.cluster_environment(tmp_path, options) == environment
