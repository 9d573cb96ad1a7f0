"""Real data, cut once: sources, splits, preprocessing fitted on training rows, the sealed test and its ledger."""

from regsearch.data.describe import describe_features, describe_split, notices, remarks
from regsearch.data.ledger import Opened, decisions, open_test, opened, openings
from regsearch.data.manifest import Manifest, SearchData, check_rows, load_search_data
from regsearch.data.resample import join, resample
from regsearch.data.sealing import seal, sealing, verify_digest

__all__ = [
    "Manifest",
    "Opened",
    "SearchData",
    "check_rows",
    "decisions",
    "describe_features",
    "describe_split",
    "join",
    "load_search_data",
    "notices",
    "open_test",
    "opened",
    "openings",
    "remarks",
    "resample",
    "seal",
    "sealing",
    "verify_digest",
]
