"""More training records of those that are there: seeded, marked, and true to what the records teach.

words, edits, thesauri      changes of single words
masked, chatting, seq2seq   models that write words or whole texts
options, steps              the augmentations, what they can be told, and what they do
keeping                     what models made, so that none of it is paid for twice
making                      records from records
"""

from slipway.training.augmentation.making import augment
from slipway.training.augmentation.options import read

__all__ = ["augment", "read"]
