"""What a job exits with, and what it says."""

import pytest

from inbol_ray.errors import ConfigError, DataError
from inbol_ray.runtime.job import run_job


@pytest.mark.parametrize(("error", "code"), [(ConfigError("engine: wrong"), 2), (DataError("a.json: cut off"), 1)])
def test_a_wrong_configuration_exits_with_2_and_another_known_error_with_1(error, code, capsys):
    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_job(work)
    assert ended.value.code == code and capsys.readouterr().err == f"error: {error}\n"


def test_an_unknown_error_keeps_its_traceback():
    def work() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run_job(work)
