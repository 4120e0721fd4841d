"""What the operator costs: time, API calls, processor time and memory for many LLMServices, beside kopf.

    python -m loadtests.operator_scale [--services 500] [--json FILE]        or: make bench-operator

On the cluster that runs (make cluster) or that KUBECONFIG names. For each operator in turn: so many objects
without replicas are made, it is started, and everything is counted until nothing is written any more; then a
time in which nothing changes, `kubectl apply` until the pod is created, and a start anew. Calls are counted
by the API server. The objects have no replicas because the operator is measured and not the nodes; those of
the latency have one each, which no node may run. Ends what it starts and deletes what it makes.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from loadtests.overhead.machines import describe
from loadtests.overhead.tables import write_between
from loadtests.scale.api_server import forget_identity, make_identity
from loadtests.scale.figures import Figures, demands, tables
from loadtests.scale.programs import kopf, slipway
from loadtests.scale.stages import Stage

from cluster.kubectl import Kubectl
from cluster.places import KUBECONFIG
from cluster.programs import programs
from slipway.kube.client import Client
from slipway.kube.config import load

ROOT = Path(__file__).parents[1]
OPERATORS = {"slipway": slipway, "kopf": kopf}


def main() -> int:
    options = _options()
    machine = describe()
    kubeconfig = Path(os.environ.get("KUBECONFIG") or KUBECONFIG)
    own = kubeconfig == KUBECONFIG
    program = programs() / "kubectl" if own else shutil.which("kubectl")
    if program is None or not kubeconfig.exists():
        raise SystemExit(
            "There is no cluster: `make cluster`, or set KUBECONFIG and have kubectl on the PATH."
        )
    kubectl = Kubectl(Path(program), kubeconfig)
    kubectl("apply", "--server-side", "--force-conflicts", f"--kustomize={ROOT / 'k8s' / 'crds'}")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev", "apikeys.slipway.dev")
    with tempfile.TemporaryDirectory(prefix="slipway-scale-") as folder:
        found = asyncio.run(_measure(kubectl, kubeconfig, options, Path(folder)))
    machine["load_after"] = round(os.getloadavg()[0], 2)
    report = {
        "command": " ".join(["python -m loadtests.operator_scale", *sys.argv[1:]]),
        "machine": machine,
        "operators": [asdict(each) for each in found],
        "demands": [asdict(each) for each in demands(found)],
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    text = tables(machine, found)
    print(text)
    if options.docs:
        write_between(options.docs, "operator", text)
    return 1 if options.check and not all(each.met for each in demands(found)) else 0


async def _measure(
    kubectl: Kubectl, kubeconfig: Path, options: argparse.Namespace, folder: Path
) -> list[Figures]:
    found = []
    async with Client(load({**os.environ, "KUBECONFIG": str(kubeconfig)}), manager="bench") as client:
        for name, make in OPERATORS.items():
            if options.only and name not in options.only:
                continue
            namespace = f"bench-{name}"
            kubectl("create", "namespace", namespace)
            try:
                identity = make_identity(kubectl, namespace, name, folder)
                operator = make(identity, namespace, options.image)
                stage = Stage(client, kubectl, operator, folder / f"{name}.log")
                found.append(await stage.run(options.services, options.idle, options.applies))
            finally:
                forget_identity(kubectl, name)
                # Awaited: what the garbage collector deletes would count as the next one's.
                kubectl("delete", "namespace", namespace, "--timeout=300s", seconds=310)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", type=int, default=500, help="LLMServices (500)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds in which nothing changes (60)")
    parser.add_argument("--applies", type=int, default=20, help="`kubectl apply` until the pod is there (20)")
    parser.add_argument("--image", default="localhost/slipway-fake-engine:test", help="of the engines")
    parser.add_argument("--only", nargs="*", choices=OPERATORS, help="operators to measure")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    parser.add_argument("--docs", type=Path, help="write the table into this page (docs/performance.md)")
    parser.add_argument(
        "--check", action="store_true", help="end with 1 where something asked for is not met"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
