"""The preparation by `datasets`: `load_dataset`, `map`, rensa's deduplicator, `to_parquet`.

python datasets_steps.py FILE.jsonl FOLDER PROCESSES
"""

import json
import sys
from pathlib import Path
from typing import Any

from data_steps import clean


def cleaned(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The texts of a batch that are kept."""
    found = [clean(text) for text in rows["text"]]
    return {"text": [text for text, kept in found if kept]}


def sketched(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """MinHash signatures of the runs of three words of a batch."""
    from rensa import RMinHash

    sets = [_runs(text) for text in rows["text"]]
    return {"signature": RMinHash.digests_from_token_sets(sets, 128, 42)}


def main() -> None:
    """Prepare the file."""
    import datasets

    path, folder, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    valid = folder / "valid.jsonl"
    # load_dataset ends at the first broken line, so that they have to be taken out before.
    with path.open() as source, valid.open("w") as target:
        for line in source:
            try:
                json.loads(line)
            except ValueError:
                continue
            target.write(line)
    loaded = datasets.load_dataset(
        "json", data_files=str(valid), split="train", cache_dir=str(folder / "cache")
    )
    kept = loaded.map(cleaned, batched=True, num_proc=processes, remove_columns=loaded.column_names)
    signed = kept.map(sketched, batched=True, num_proc=processes)
    duplicates = _duplicates(signed)
    unique = kept.select([at for at in range(len(kept)) if not duplicates[at]])
    parts = unique.train_test_split(test_size=0.2, seed=0)
    held = parts["test"].train_test_split(test_size=0.5, seed=0)
    for name, part in (("train", parts["train"]), ("validation", held["train"]), ("test", held["test"])):
        part.to_parquet(str(folder / f"{name}.parquet"))
    print(json.dumps({"rows": len(unique)}))


def _duplicates(signed: Any) -> list[bool]:
    """Whether a text nearly is one before it, by rows of signatures that agree in a band of LSH."""
    bands, rows = 21, 6
    seen: list[dict[tuple[int, ...], int]] = [{} for _ in range(bands)]
    signatures: list[list[int]] = []
    found = []
    for row in signed.select_columns(["signature"]):
        signature = row["signature"]
        keys = [tuple(signature[band * rows : (band + 1) * rows]) for band in range(bands)]
        before = {seen[band][key] for band, key in enumerate(keys) if key in seen[band]}
        alike = any(
            sum(a == b for a, b in zip(signature, signatures[at], strict=True)) >= 0.8 * 128 for at in before
        )
        found.append(alike)
        if not alike:
            for band, key in enumerate(keys):
                seen[band].setdefault(key, len(signatures))
            signatures.append(signature)
    return found


def _runs(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))]


if __name__ == "__main__":
    main()
