"""Serves a registry to engines: `python -m slipway.training.registry serve --root FOLDER --port PORT`."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from slipway.training.errors import RegistryError
from slipway.training.registry.server import Key, serve
from slipway.training.registry.store import Registry


def main() -> int:
    """Do what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.training.registry", description=__doc__)
    asked = parser.add_subparsers(required=True).add_parser("serve", help="hand versions out over HTTP")
    asked.add_argument("--root", type=Path, required=True, help="the registry's folder: WORKSPACE/registry")
    asked.add_argument("--host", default="127.0.0.1", help="address to listen on [%(default)s]")
    asked.add_argument("--port", type=int, default=9092, help="port to listen on, 0 for any [%(default)s]")
    keys = asked.add_mutually_exclusive_group(required=True)
    keys.add_argument("--key-file", type=Path, help="file with the key that readers send")
    keys.add_argument(
        "--engine-key-file",
        type=Path,
        help="file with the engines' key; readers send what they derive from their $SLIPWAY_ENGINE_KEY",
    )
    given = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    derived = given.engine_key_file is not None
    key = Key(given.engine_key_file if derived else given.key_file, derived=derived)

    def ready(port: int) -> None:
        print(f"Serving {given.root} at http://{given.host}:{port}", flush=True)

    try:
        asyncio.run(serve(Registry(given.root.resolve()), key, given.host, given.port, ready))
    except RegistryError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
