"""A corpus with what real ones have: duplicates, personal data, HTML, broken encodings, broken lines."""

import json
import random
from pathlib import Path

_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def write(path: Path, size: int, seed: int = 0) -> None:
    """Write JSONL with a field `text` of some 400 characters, `size` bytes of it."""
    draw = random.Random(seed)
    words = [
        "".join(draw.choices(_LETTERS, k=min(12, max(2, int(draw.gauss(5.5, 2.2)))))) for _ in range(30_000)
    ]
    stream = draw.choices(words, [1 / (rank + 10) for rank in range(len(words))], k=2_000_000)
    kept: list[str] = []
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            text = _text(draw, words, stream, kept)
            line = json.dumps({"text": text}, ensure_ascii=draw.random() < 0.5)
            if draw.random() < 0.001:
                line = line[:20]
            file.write(line + "\n")
            written += len(line.encode()) + 1


def _text(draw: random.Random, words: list[str], stream: list[str], kept: list[str]) -> str:
    fate = draw.random()
    if kept and fate < 0.05:
        return draw.choice(kept)
    if kept and fate < 0.1:
        near = draw.choice(kept).split()
        near[draw.randrange(len(near))] = draw.choice(words)
        return " ".join(near)
    length = min(400, max(15, int(draw.lognormvariate(4.3, 0.6))))
    start = draw.randrange(len(stream) - length)
    text = " ".join(stream[start : start + length])
    if draw.random() < 0.05:
        text += f" write to {draw.choice(words)}{draw.randrange(999)}@example.org"
    if draw.random() < 0.02:
        text += f" call +1 212-555-{draw.randrange(1000, 9999)}"
    if draw.random() < 0.05:
        text = text.replace("e", "é", 3).encode().decode("latin-1")
    if draw.random() < 0.1:
        text += " 東京 café \u2013 naïve"
    if draw.random() < 0.02:
        text = f"<p>{text}</p>"
    if len(kept) < 5000:
        kept.append(text)
    return text
