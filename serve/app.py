"""The server on this machine (`make serve`). On a cluster: `serve deploy serve/deployment.yaml`.

usage: python serve/app.py --config jobs/configs/demo.yaml [--serving.port 8000 ...]
"""

import sys

from inbol_ray.config.load import load_config, parse_job_args


def main() -> None:
    parse_job_args(__doc__)
    from inbol_ray.runtime.job import run_job
    from inbol_ray.serving.local import serve_here

    run_job(lambda: serve_here(lambda: load_config(sys.argv[1:])))


if __name__ == "__main__":
    main()
