"""A call in a fresh process, so that no side of a benchmark starts with another's memory."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_own_process(run: Callable[..., Result], *args: object) -> Result:
    """`run(*args)`. What the process and its children write to stderr (Ray says much) is shown only if it fails."""
    with tempfile.NamedTemporaryFile() as said:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_write_stderr_to, initargs=(said.name,)) as pool:
            try:
                return pool.submit(run, *args).result()
            except BaseException:
                sys.stderr.buffer.write(said.read())
                raise


def _write_stderr_to(path: str) -> None:
    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), 2)
