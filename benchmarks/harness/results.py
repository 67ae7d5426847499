"""What a run found, and its JSON file.

{"format": 1, "quick": false, "rounds": 5, "command": "...",
 "machine": {...}, "versions": {contestant: version},
 "missing": {contestant: why it is not in the tables},
 "results": {file: {case: {contestant: {
     "note": null, "error": null, "rounds": [{metric: number}, ...]}}}}}
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORMAT = 1


class Results:
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.results: dict[str, Any] = data["results"]

    @classmethod
    def new(cls, **about: Any) -> Results:
        return cls({"format": FORMAT, **about, "results": {}})

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text())
        if data.get("format") != FORMAT:
            raise ValueError(f"{path} is not of format {FORMAT}")
        return cls(data)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(self.data, indent=1) + "\n")
        unfinished.rename(path)

    def update(self, other: Results) -> None:
        """Cases of `other` replace ours: a part was measured again."""
        for file, cases in other.results.items():
            self.results.setdefault(file, {}).update(cases)
        self.data["command"] += "\n" + other.data["command"]
        for key in "versions", "missing":
            self.data[key] = {**self.data.get(key, {}), **other.data.get(key, {})}

    # --- one contestant in one case

    def entry(self, file: str, case: str, contestant: str) -> dict[str, Any]:
        cases = self.results.setdefault(file, {})
        empty = {"note": None, "error": None, "rounds": []}
        return cases.setdefault(case, {}).setdefault(contestant, empty)

    def note(self, file: str, case: str, contestant: str) -> str | None:
        return self._get(file, case, contestant).get("note")

    def error(self, file: str, case: str, contestant: str) -> str | None:
        entry = self._get(file, case, contestant)
        return None if entry.get("rounds") else entry.get("error")

    def values(self, file: str, case: str, contestant: str, metric: str) -> list[float]:
        rounds = self._get(file, case, contestant).get("rounds", [])
        return [r[metric] for r in rounds if metric in r]

    def median(
        self, file: str, case: str, contestant: str, metric: str
    ) -> float | None:
        values = self.values(file, case, contestant, metric)
        return statistics.median(values) if values else None

    def spread(
        self, file: str, case: str, contestant: str, metric: str
    ) -> float | None:
        """Half the way from the least to the greatest, as part of the median."""
        values = self.values(file, case, contestant, metric)
        middle = statistics.median(values) if values else 0
        if len(values) < 2 or not middle:
            return None
        return (max(values) - min(values)) / 2 / middle

    def _get(self, file: str, case: str, contestant: str) -> dict[str, Any]:
        return self.results.get(file, {}).get(case, {}).get(contestant, {})

    # --- what there is

    def files(self) -> list[str]:
        return [*self.results]

    def cases(self, file: str) -> list[str]:
        return [*self.results.get(file, {})]

    def contestants(self, file: str, case: str) -> list[str]:
        return [*self.results.get(file, {}).get(case, {})]

    def metrics(self) -> Iterator[tuple[str, str, str]]:
        """(file, case, metric), each once."""
        for file, cases in self.results.items():
            for case, entries in cases.items():
                seen: dict[str, None] = {}
                for entry in entries.values():
                    for one in entry["rounds"]:
                        seen |= dict.fromkeys(one)
                for metric in seen:
                    yield file, case, metric
