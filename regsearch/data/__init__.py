"""Real data, cut once: sources, splits, preprocessing fitted on training rows, the sealed test and its ledger."""

from regsearch.data.ledger import decisions, open_test, openings
from regsearch.data.manifest import Manifest, SearchData, load_search_data
from regsearch.data.sealing import seal, verify_digest

__all__ = ["Manifest", "SearchData", "decisions", "load_search_data", "open_test", "openings", "seal", "verify_digest"]
