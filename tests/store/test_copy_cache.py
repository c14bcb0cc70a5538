"""Copies within a bound of bytes: the least recently used go, those that a living process uses stay."""

import subprocess
import sys
from pathlib import Path

import pytest

from inbol_ray.store import copy_cache
from inbol_ray.store.copy_cache import CopyCache

SIZE, MAX_BYTES = 10, 25  # room for two
OTHER_PROCESS = """
import sys, time
from pathlib import Path
from inbol_ray.store.copy_cache import CopyCache

folder, size, max_bytes, *names = sys.argv[1:]

def fill(folder):
    for _ in range(int(size)):
        with open(folder / "data", "ab") as file:
            file.write(b"x")
        time.sleep(0.005)

sys.stdin.readline()
for name in names:
    copy = CopyCache(Path(folder), int(max_bytes)).get(name, lambda: int(size), fill)
    time.sleep(0.02)
    assert (copy / "data").read_bytes() == b"x" * int(size), name
print("done", flush=True)
sys.stdin.read()
"""


class Asker:
    """Asks for copies of ten bytes, each time as a process that ends at once; `filled` names those it had to fill."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filled = folder, []

    def __call__(self, *names: str) -> None:
        for name in names:
            copy = CopyCache(self.folder, MAX_BYTES).get(
                name, lambda: SIZE, lambda folder, name=name: self._fill(folder, name)
            )
            assert (copy / "data").read_bytes() == b"x" * SIZE
            copy_cache._in_use.clear()

    def _fill(self, folder: Path, name: str) -> None:
        (folder / "data").write_bytes(b"x" * SIZE)
        self.filled.append(name)

    @property
    def there(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def ask(tmp_path):
    yield Asker(tmp_path)
    copy_cache._in_use.clear()


def other_process(folder: Path, *names: str) -> subprocess.Popen:
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), str(SIZE), str(MAX_BYTES), *names]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_least_recently_used_goes(ask):
    ask("a", "b", "a", "c")
    assert ask.there == {"a", "c"} and ask.filled == ["a", "b", "c"]
    ask("b")
    assert ask.there == {"b", "c"}


def test_a_copy_stays_while_a_process_that_asked_for_it_lives(ask):
    holders = [other_process(ask.folder, "a") for _ in range(2)]
    for holder in holders:  # the second finds what the first has filled
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "done\n"
    holders[0].communicate("")
    ask("b", "c", "d")
    assert ask.there == {"a", "d"}
    holders[1].kill()
    holders[1].wait()
    ask("e")
    assert ask.there == {"d", "e"}


def test_when_nothing_can_go_there_are_more(ask):
    cache = CopyCache(ask.folder, MAX_BYTES)
    for name in "abc":
        cache.get(name, lambda: SIZE, lambda folder: None)
    assert ask.there == {"a", "b", "c"}


def test_what_failed_or_was_killed_in_the_middle_is_no_copy_and_takes_no_room(ask):
    def fail(folder: Path) -> None:
        (folder / "data").write_bytes(b"half")
        raise OSError

    ask("b")
    with pytest.raises(OSError):
        CopyCache(ask.folder, MAX_BYTES).get("a", lambda: SIZE, fail)
    ask("c")
    assert ask.there == {"b", "c"}
    # What a process that was killed while it copied leaves.
    (ask.folder / ".k.partial").mkdir()
    (ask.folder / ".k.partial" / "data").write_bytes(b"half")
    (ask.folder / ".k.lock").write_text(str(SIZE))
    ask("b", "d")
    assert ask.there == {"b", "d"} and not (ask.folder / ".k.partial").exists()
    ask("k")
    assert ask.there == {"d", "k"}


def test_processes_that_ask_at_the_same_time(ask):
    processes = [other_process(ask.folder, *order) for order in ("abcde", "acbed", "aedcb")]
    for process in processes:
        print(file=process.stdin, flush=True)
    for process in processes:
        output, _ = process.communicate("", timeout=60)
        assert process.returncode == 0 and output == "done\n", output
    ask("f")
    assert len(ask.there) == 2
