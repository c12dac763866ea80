"""Compiled models as files."""

from tfc.codegen.artifact.write import write_artifact

__all__ = ["write_artifact"]
