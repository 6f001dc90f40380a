"""Palate's API from Python.

palate = Palate("http://localhost:8000", token)
palate.import_prompts("helpfulness", "prompts.jsonl")
palate.export("helpfulness", "pairs.jsonl", format="trl")
"""

from palate_client.async_client import AsyncPalate
from palate_client.client import Palate
from palate_client.errors import PalateError
from palate_client.labeling import Answer, Item, Judgment, Marks, Skip
from palate_client.signatures import verified

__all__ = ["Answer", "AsyncPalate", "Item", "Judgment", "Marks", "Palate", "PalateError", "Skip", "verified"]
