"""ONNX models as `tfc` modules; needs the ``onnx`` package: ``pip install tfc[onnx]``."""

from tfc.frontend.onnx.importer import import_onnx
from tfc.frontend.onnx.reader import read_model

__all__ = ["import_onnx", "read_model"]
