"""The version of Triaxis: pyproject.toml takes it from here."""

VERSION = "0.2.0"
