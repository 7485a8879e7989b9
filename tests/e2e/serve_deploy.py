"""A Ray with Ray Serve's proxies, and a config deployed to it as `serve deploy` does; for a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml


def main(path: str, folder: str) -> None:
    """Deploys the config at `path`, says so in a line, and ends when its input does. Ray's files lie in `folder`."""
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(Path(path).read_text()))
    ray.init(num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False, _temp_dir=folder)
    try:
        serve.start(proxy_location="EveryNode", http_options=config.http_options.model_dump(include={"host", "port"}))
        # What the REST call of `serve deploy` does with a config.
        _get_global_client().deploy_apps(config, _blocking=True)
        print("deployed", flush=True)
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
