"""Create `.venv` and install the pinned set into it, once; a second run sees the stamp and does nothing.

Runs on any Python, with the standard library alone, so that an unsupported one gets a sentence and not a traceback:
keep to the syntax of Python 3.6 here.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "inbol_ray.stamp")
UV = "uv==0.13.8"
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_BYTES = 10 * 1000**3
INPUTS = ("pyproject.toml", "cluster/constraints.txt", "cluster/overrides.txt", "cluster/setup_env.py")


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
            return file.read().strip() == wanted
    except OSError:
        return False


def say(text):
    print("setup: " + text, flush=True)


def run(title, command):
    """Run a command quietly; raise SetupError with the end of its output when it fails."""
    started = time.time()
    say(title)
    # Bytecode is compiled once here: without it every start of vLLM takes three times as long.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    output = done.communicate()[0]
    if done.returncode:
        raise SetupError(explain(title, output))
    say("%s: done in %.0f s" % (title, time.time() - started))


def explain(title, output):
    """One sentence for a failed step, then the end of what it printed."""
    text = output.lower()
    if "no space left" in text or "os error 28" in text:
        mend = "the disk is full: free about 10 GB"
    elif "dns error" in text or "connection" in text or "timed out" in text or "network" in text:
        mend = "the package index could not be reached: check the network or proxy"
    else:
        mend = "see the last lines below"
    return "%s failed: %s, then run the same command again\n%s" % (title, mend, output[-2000:])


def install(extra):
    """Create the environment and install everything, then write the stamp."""
    check_tools()
    check_disk(shutil.disk_usage(ROOT).free)
    python = os.path.join(VENV, "bin", "python")
    if os.path.exists(STAMP):
        os.remove(STAMP)
    if not os.path.exists(python):
        run("create .venv", [sys.executable, "-m", "venv", VENV])
    run("install uv", [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])
    run(
        "install the pinned packages (6 GB, minutes on a slow network)",
        [
            os.path.join(VENV, "bin", "uv"),
            "pip",
            "install",
            "--python",
            python,
            "--compile-bytecode",
            "--constraint",
            "cluster/constraints.txt",
            "--override",
            "cluster/overrides.txt",
            "--editable",
            ".[%s,test]" % extra,
        ],
    )
    with open(STAMP, "w") as file:
        file.write(fingerprint(extra))


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
    except KeyboardInterrupt:
        sys.stderr.write("setup: stopped; run the same command again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
