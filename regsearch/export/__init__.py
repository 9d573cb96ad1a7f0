"""A study's champion as a plain folder: it answers raw columns with torch, numpy and pandas alone."""

from regsearch.export.folder import Exported, export_study

__all__ = ["Exported", "export_study"]
