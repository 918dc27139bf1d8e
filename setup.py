"""Only what pyproject.toml cannot say: the folder ``patches/`` is the package ``sam3port.patches``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["sam3port", "sam3port.*"]), "sam3port.patches"],
    package_dir={"sam3port": "sam3port", "sam3port.patches": "patches"},
)
