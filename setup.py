"""What pyproject.toml cannot say: the wheel also holds the folders `jobs` and `serve`, as `inbol_ray/jobs` and
`inbol_ray/serve`, where the command `inbol-ray` finds them."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["inbol_ray*"]), "inbol_ray.jobs", "inbol_ray.jobs.configs", "inbol_ray.serve"],
    package_dir={"inbol_ray.jobs": "jobs", "inbol_ray.serve": "serve"},
)
