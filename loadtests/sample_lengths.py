"""Make lengths.csv: how long prompts and answers of real conversations are.

    python -m loadtests.sample_lengths AzureLLMInferenceTrace_conv.csv > loadtests/lengths.csv

The trace is part of the Azure Public Dataset (github.com/Azure/AzurePublicDataset, CC-BY 4.0), published with
"Splitwise: Efficient generative LLM inference using phase splitting" (ISCA 2024): tokens of 19,366 requests
to a conversation service on 2023-11-16. Every n-th pair in the order of prompt lengths is kept, so that
prompts keep their distribution and answers stay with their prompts.
"""

import csv
import sys
from pathlib import Path

KEPT = 512
SOURCE = """\
# Prompt and answer lengths in tokens: 512 of the 19,366 requests of AzureLLMInferenceTrace_conv.csv,
# Azure Public Dataset, https://github.com/Azure/AzurePublicDataset, by Microsoft, licence CC-BY 4.0.
# Sampled by loadtests/sample_lengths.py.
"""


def sample(pairs: list[tuple[int, int]], kept: int = KEPT) -> list[tuple[int, int]]:
    """`kept` pairs, evenly over the order of prompt lengths."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return [ordered[(2 * at + 1) * len(ordered) // (2 * kept)] for at in range(kept)]


def main() -> None:
    with Path(sys.argv[1]).open(newline="") as file:
        pairs = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    print(SOURCE + "prompt_tokens,completion_tokens")
    for prompt, completion in sample(pairs):
        print(f"{prompt},{completion}")


if __name__ == "__main__":
    main()
