"""Real data, cut once: sources, splits, preprocessing fitted on training rows, the sealed test and its ledger."""

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
    "join",
    "load_search_data",
    "open_test",
    "opened",
    "openings",
    "resample",
    "seal",
    "sealing",
    "verify_digest",
]
