"""Joining tracebacks, at the place where upstream has it."""

from .._native import concat_tb

__all__ = ["concat_tb"]
