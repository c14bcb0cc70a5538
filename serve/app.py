"""Entry of the server: `make serve` on this machine, `serve deploy serve/deployment.yaml` on a cluster.

usage: python serve/app.py --config jobs/configs/demo.yaml [--serving.port 8000 ...]
"""

import sys

from inbol_ray.config.load import load_config, parse_job_args


def build(args: dict[str, str]):
    """What `serve deploy` imports: `args` are options of the configuration, `config` one or more files."""
    from inbol_ray.serving.app import build_application

    options = []
    for key, value in args.items():
        for text in value if isinstance(value, list) else [value]:
            options += [f"--{key}", str(text)]
    return build_application(load_config(options))


def main() -> None:
    parse_job_args(__doc__)
    from inbol_ray.pipeline import run_job
    from inbol_ray.serving.local import serve_here

    run_job(lambda: serve_here(lambda: load_config(sys.argv[1:])))


if __name__ == "__main__":
    main()
