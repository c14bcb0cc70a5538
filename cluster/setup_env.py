"""Create `.venv` and install the pinned set into it, once; a second run sees the stamp and does nothing.

Runs on any Python 3, with the standard library alone, so that an unsupported one gets a sentence and not a traceback:
keep to the syntax of Python 3.6 here.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "inbol_ray.stamp")
UV = "uv==0.13.8"
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_BYTES = 10 * 1000**3
NOT_PINNED_ON_GPU = ("apache-tvm-ffi", "cuda-bindings")
"""Packages of the tested (CPU) set that vLLM's GPU build wants in a version of its own."""
PINNED_ON_GPU = ("cuda-python==13.4.4",)
"""flashinfer takes any cuda-python from 12 on: left free it becomes 12.6 beside torch's CUDA 13, or on Python 3.13
nothing at all. This release and its cuda-bindings resolve on every supported Python."""
INPUTS = ("pyproject.toml", "setup.py", "cluster/constraints.txt", "cluster/overrides.txt", "cluster/setup_env.py")
MENDS = (
    (r"no space left|os error 28|disk quota", "the disk is full: free about 10 GB"),
    (
        r"dns error|failed to lookup|name resolution|connect error|connection (refused|reset|aborted|timed out)"
        r"|network is unreachable|timed out|error sending request|newconnectionerror|from versions: none",
        "the package index could not be reached: check the network, the proxy or the index settings",
    ),
    (r"permission denied|read-only file system", "the checkout is not writable: check its permissions"),
)
"""What a failed step's output says, and how to mend it; the first match counts."""


class SetupError(Exception):
    """Why the set-up cannot go on, and how to mend it."""


def check_python(version):
    """Raise SetupError unless `version` (major, minor, ...) is supported."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        raise SetupError(
            "Python %d.%d found, 3.11 to 3.13 needed: install one and run `make PYTHON=python3.12 ...`"
            % tuple(version[:2])
        )


def check_disk(free_bytes):
    """Raise SetupError when the environment would not fit."""
    if free_bytes < NEEDED_BYTES:
        raise SetupError(
            "%.1f GB free at %s, %.0f GB needed for the environment: free some space or move the checkout"
            % (free_bytes / 1e9, ROOT, NEEDED_BYTES / 1e9)
        )


def check_tools():
    """Raise SetupError without `venv`; vLLM's CPU kernels are prebuilt, so a compiler is only mentioned."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError("this Python has no venv module: install it (Debian: apt-get install python3-venv)") from None
    if not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        say(
            "no C compiler found: not needed with the pinned wheels; if a package must build, install gcc and try again"
        )


def fingerprint(extra):
    """SHA-256 of everything that decides what gets installed."""
    digest = hashlib.sha256(("%s %s %s" % (extra, sys.version_info[:2], ROOT)).encode())
    for name in INPUTS:
        with open(os.path.join(ROOT, *name.split("/")), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def is_installed(wanted):
    try:
        with open(STAMP) as file:
            return file.read().strip() == wanted and os.path.exists(PYTHON)
    except OSError:
        return False


def is_usable_venv():
    """Whether `.venv` has pip and this Python's version; not so after an interrupted creation or another Python."""
    code = "import pip, sys; sys.exit(sys.version_info[:2] != %r)" % (tuple(sys.version_info[:2]),)
    try:
        return subprocess.call([PYTHON, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def constraints_for(extra):
    """Path of the constraints file; for the GPU build a copy in `.venv` with its own pins in place of some."""
    if extra == "cpu":
        return os.path.join("cluster", "constraints.txt")
    path = os.path.join(VENV, "constraints-gpu.txt")
    with open(os.path.join(ROOT, "cluster", "constraints.txt")) as source, open(path, "w") as target:
        target.writelines(line for line in source if line.split("==")[0] not in NOT_PINNED_ON_GPU)
        target.writelines(pin + "\n" for pin in PINNED_ON_GPU)
    return path


def say(text, end="\n"):
    sys.stdout.write("setup: " + text + end)
    sys.stdout.flush()


def run(title, command):
    """Run a command quietly, on one line; raise SetupError with its reason when it fails."""
    started = time.time()
    say(title + " ...", end=" ")
    # Bytecode is compiled once here: without it every start of vLLM takes three times as long.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        output = done.communicate()[0]
        failed = done.returncode != 0
    except OSError as error:
        output, failed = str(error), True
    sys.stdout.write("%s %.0f s\n" % ("failed after" if failed else "done in", time.time() - started))
    sys.stdout.flush()
    if failed:
        raise SetupError(explain(title, output))


def explain(title, output):
    """One sentence for a failed step; when the cause is not a known one, the end of what it printed follows."""
    for pattern, mend in MENDS:
        if re.search(pattern, output, re.IGNORECASE):
            return "%s failed: %s, then run the same command again" % (title, mend)
    return "%s failed: mend what the last lines below name, then run the same command again\n%s" % (
        title,
        output[-2000:].strip(),
    )


def install(extra):
    """Create the environment and install everything, then write the stamp."""
    check_tools()
    check_disk(shutil.disk_usage(ROOT).free)
    if os.path.exists(STAMP):
        os.remove(STAMP)
    if not is_usable_venv():
        run("create .venv", [sys.executable, "-m", "venv", "--clear", VENV])
    run("install uv", [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
    command = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--python", PYTHON, "--compile-bytecode"]
    command += ["--constraint", constraints_for(extra), "--override", os.path.join("cluster", "overrides.txt")]
    command += ["--editable", ".[all,%s,test,docs]" % extra]
    run("install the pinned packages (6 GB, minutes on a slow network)", command)
    # Last and in one step, so that an interrupted install is never taken for a finished one.
    with open(STAMP + ".new", "w") as file:
        file.write(fingerprint(extra))
    os.replace(STAMP + ".new", STAMP)


def main():
    extra = os.environ.get("INBOL_EXTRA", "cpu")
    try:
        check_python(sys.version_info)
        if extra not in ("cpu", "gpu"):
            raise SetupError("INBOL_EXTRA is %r: use cpu (vLLM's CPU build) or gpu" % extra)
        if not is_installed(fingerprint(extra)):
            install(extra)
    except SetupError as error:
        sys.stderr.write("setup: error: %s\n" % error)
        return 1
    except OSError as error:
        sys.stderr.write("setup: error: %s\n" % explain("set-up", str(error)))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nsetup: stopped; run the same command again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
