"""Statistics of a snapshot: counts, agreement and position and length bias, accumulated row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from annotation.exports.judgment_row import JudgmentRow
from annotation.logic import ranking
from annotation.logic.agreement import wilson
from annotation.logic.erased_text import is_erased

MAX_SECONDS = 3600
"""Longer times are counted as this."""


class SnapshotStatistics:
    """Accumulates rows in the order of an export, where those of one prompt, and of one item, are together. Imported judgments
    are counted apart."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.annotators: Counter[tuple[str, str]] = Counter()
        self.imported: Counter[tuple[str, str]] = Counter()
        self.models: Counter[str] = Counter()
        self.guidelines: Counter[int] = Counter()
        self.question_sets: Counter[int] = Counter()
        self.degrees: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.chats: set[int] = set()
        self.last_judgment = 0
        self._seconds: Counter[int] = Counter()
        self._preferences: Counter[str] = Counter()
        self._agreement: list[float] = [0.0, 0.0]
        self._dates: list[str] = []
        self._probabilities = [1.0, 0.0]
        self._prompt = self._item = 0
        self._sizes: Counter[int] = Counter()
        self._overlaps: Counter[int] = Counter()
        self._judged = 0

    def add(self, row: JudgmentRow) -> None:
        if row.get("imported"):
            self._add_imported(row)
            return
        kind = "gold" if row["gold"] else "judgments" if len(row["ranks"]) > 1 else "demonstrations"
        if is_erased(row["messages"]):
            kind = "erased"
        if row["demonstration"] is not None and kind == "judgments":
            self.counts["demonstrations"] += 1
        if (chat := row.get("chat")) is not None:  # snapshots from before there were chats lack it
            self.chats.add(chat)
            self.counts["of_chats"] += 1
        split = row["split"]
        self.counts[kind] += 1
        if row["group"] != self._prompt:
            self._prompt = row["group"]
            self.counts.update(("prompts", f"prompts_{split}"))
            self.tags.update(row["tags"])
        self.annotators[row["annotator"], row["account"]] += 1
        if row["guideline"] is not None:
            self.guidelines[row["guideline"]] += 1
        if (questions := row.get("questions")) is not None:
            self.question_sets[questions] += 1
        self.last_judgment = max(self.last_judgment, row["judgment"])
        self._seconds[min(MAX_SECONDS, round(row["seconds"] or 0))] += 1
        day = row["created_at"]
        self._dates = [min(day, *self._dates[:1]), max(day, *self._dates[1:])] if self._dates else [day, day]
        if row["item"] != self._item:
            self._add_item(row)
        self._judged += 1
        self._sizes[len(row["ranks"])] += 1
        if kind == "judgments":
            self.counts[f"judgments_{split}"] += 1
            self._add_pairs(row)

    def _add_imported(self, row: JudgmentRow) -> None:
        """Apart from those of the project's annotators, which are what all other figures are about."""
        pairs = len(ranking.pairs(row["ranks"]))
        self.imported[row["source"] or "", row["account"]] += 1
        self.counts.update(imported=1, imported_pairs=pairs)
        self.counts[f"imported_pairs_{row['split']}"] += pairs
        self.last_judgment = max(self.last_judgment, row["judgment"])

    def _add_item(self, row: JudgmentRow) -> None:
        self._item = row["item"]
        self._end_item()
        self.counts["items"] += 1
        self.models.update(response["author"] for response in row["responses"])
        low, high = self._probabilities
        self._probabilities = [min(low, row["probability"]), max(high, row["probability"])]
        if row["agreement"] is not None:
            self._agreement[0] += row["agreement"]
            self._agreement[1] += 1

    def _end_item(self) -> None:
        if self._judged:
            self._overlaps[self._judged] += 1
        self._judged = 0

    def _add_pairs(self, row: JudgmentRow) -> None:
        """For each pair of answers: whether the one shown first, or the longer one, was preferred."""
        pairs = ranking.pairs(row["ranks"])
        self.counts["pairs"] += len(pairs)
        self.counts[f"pairs_{row['split']}"] += len(pairs)
        if row["degree"]:
            self.degrees[row["degree"]] += 1
        place = {answer: shown for shown, answer in enumerate(row["shown_order"])}
        lengths = [len(response["text"]) for response in row["responses"]]
        for better, worse in pairs:
            self._preferences["placed"] += 1
            self._preferences["first"] += place[better] < place[worse]
            if lengths[better] != lengths[worse]:
                self._preferences["unequal"] += 1
                self._preferences["longer"] += lengths[better] > lengths[worse]

    def report(self) -> dict[str, Any]:
        """Everything as JSON. Shares have a 95% interval and the number of pairs."""
        total, items = self._agreement
        self._end_item()
        return {
            "counts": self.all_counts(),
            "annotators": [
                {"annotator": name, "account": account, "judgments": n}
                for (name, account), n in sorted(self.annotators.items())
            ],
            "imported": [
                {"source": source, "account": account, "judgments": n}
                for (source, account), n in sorted(self.imported.items())
            ],
            "models": dict(sorted(self.models.items())),
            "guidelines": {str(number): n for number, n in sorted(self.guidelines.items())},
            "questions": {str(number): n for number, n in sorted(self.question_sets.items())},
            "degrees": dict(sorted(self.degrees.items())),
            "tags": dict(sorted(self.tags.items())),
            "answers": {str(k): n for k, n in sorted(self._sizes.items())},
            "judgments_per_item": {str(n): items for n, items in sorted(self._overlaps.items())},
            "agreement": {"mean": round(total / items, 4) if items else None, "items": int(items)},
            "first_shown_preferred": self._preference("first", "placed"),
            "longer_preferred": self._preference("longer", "unequal"),
            "median_seconds": self._median(),
            "dates": self._dates,
            "probabilities": self._probabilities if self.counts["items"] else [],
        }

    def all_counts(self) -> dict[str, int]:
        machines = sum(n for (_, account), n in self.annotators.items() if account == "machine")
        return {
            "judgments": 0,
            "pairs": 0,
            "prompts": 0,
            "gold": 0,
            "demonstrations": 0,
            **self.counts,
            **({"chats": len(self.chats)} if self.chats else {}),
            "annotators": len(self.annotators),
            "by_machines": machines,
        }

    def _preference(self, part: str, total: str) -> dict[str, Any] | None:
        x, n = self._preferences[part], self._preferences[total]
        if not n:
            return None
        low, high = wilson(x, n)
        return {"share": round(x / n, 4), "low": round(low, 4), "high": round(high, 4), "pairs": n}

    def _median(self) -> int | None:
        half, seen = sum(self._seconds.values()) / 2, 0
        for seconds in sorted(self._seconds):
            seen += self._seconds[seconds]
            if seen >= half:
                return seconds
        return None
