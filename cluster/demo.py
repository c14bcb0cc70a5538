"""Submit the stages of the demo as jobs to the cluster of `make cluster-local`, one after the other, as a user would.

Options after the script's name go to every job. Ctrl-C stops the job that runs. A cluster other than the local one is
taken from Ray's own variables (RAY_API_SERVER_ADDRESS, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH).
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from inbol_ray.store.leases import is_locked

ROOT = Path(__file__).resolve().parents[1]
RAY_JOB = [str(Path(sys.executable).with_name("ray")), "job"]
CLUSTER = ROOT / "build" / "cluster"
JOBS = ("base_model", "unanswerable", "confidence", "build_data", "train", "evaluate", "calibrate", "pipeline")


def main() -> None:
    environment = {"RAY_AUTH_MODE": "token"} | os.environ
    if "RAY_API_SERVER_ADDRESS" not in environment:
        if not is_locked(CLUSTER / "lock"):
            raise SystemExit("error: no cluster: run `make cluster-local` in another terminal first")
        environment["RAY_API_SERVER_ADDRESS"] = (CLUSTER / "address").read_text()
        environment["RAY_AUTH_TOKEN_PATH"] = str(CLUSTER / "token")
    options = sys.argv[1:] or ["--config", "jobs/configs/demo.yaml"]
    # Later options win, so a user's own --output_dir does.
    options = ["--output_dir", str(ROOT / "build" / "cluster-demo"), *options]
    for job in JOBS:
        name = f"{job}-{secrets.token_hex(4)}"
        command = [*RAY_JOB, "submit", "--submission-id", name, "--working-dir", "."]
        command += ["--runtime-env", "cluster/runtime_env.yaml", "--", "python", f"jobs/{job}.py", *options]
        print(f"\n$ ray {' '.join(command[1:])}", flush=True)
        try:
            code = subprocess.call(command, cwd=ROOT, env=environment)
        except KeyboardInterrupt:
            subprocess.call([*RAY_JOB, "stop", name], cwd=ROOT, env=environment)  # a job outlives who submitted it
            raise SystemExit(130) from None
        if code:
            raise SystemExit(f"error: the job {job} failed ({code}); finished stages are kept, run this again to go on")


if __name__ == "__main__":
    main()
