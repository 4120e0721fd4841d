"""Runs in the engine's environment: makes tiny models with random weights, and asks Transformers itself.

`python reference.py make FOLDER` writes each model into a folder of its own. `python reference.py answer
FOLDER` reads questions, one JSON object a line, from standard input and writes an answer a line:
`{"model", "do": "generate", "text", "tokens"}`, `{"model", "do": "classify" | "entities" | "embed", "text"}`,
`{"model", "do": "score", "pairs"}`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import (  # type: ignore[import-not-found,unused-ignore]
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

SENTENCES = """
translate English to German : the house is wonderful and the garden is small .
summarize : state authorities sent crews to survey the damage .
Alice Smith met Bob Jones in Berlin , they flew to New York with Acme .
This film is great ! That film is terrible , boring and far too long ; do not watch it .
What is the capital of France ? Paris is the capital of France . The sea is deep and blue .
"""
WORDS = sorted(set(SENTENCES.split()))
LETTERS = sorted(set("".join(WORDS)) | set("ößïé東京😀"))
PAD, END, UNKNOWN, BEGIN, SEPARATE, CLASS, MASK = "<pad>", "</s>", "<unk>", "<s>", "<sep>", "<cls>", "<mask>"
SPECIAL = [PAD, END, UNKNOWN, BEGIN, SEPARATE, CLASS, MASK]
PLAIN = f"{BEGIN} $A {END}"


def tokenizer(kind: str, template: str, pair: str | None = None, **more: Any) -> Any:
    """A small tokenizer of one of the common kinds: SentencePiece's, GPT's bytes, or BERT's words."""
    if kind == "pieces":
        pieces = [("▁", -6.0), *((f"▁{word}", -2.0) for word in WORDS), *((each, -8.0) for each in LETTERS)]
        made = Tokenizer(
            models.Unigram([*((each, 0.0) for each in SPECIAL), *pieces], SPECIAL.index(UNKNOWN))
        )
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    elif kind == "bytes":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        made = Tokenizer(models.BPE({each: place for place, each in enumerate([*SPECIAL, *alphabet])}, []))
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    else:
        words = [word.lower() for word in WORDS]
        parts = [*SPECIAL, *words, *(f"##{each.lower()}" for each in LETTERS)]
        vocabulary = {each: place for place, each in enumerate(dict.fromkeys(parts))}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    ids = [(token, SPECIAL.index(token)) for token in SPECIAL]
    made.post_processor = processors.TemplateProcessing(single=template, pair=pair, special_tokens=ids)
    named = {"pad_token": PAD, "eos_token": END, "unk_token": UNKNOWN, "bos_token": BEGIN}
    named |= {"sep_token": SEPARATE, "cls_token": CLASS, "mask_token": MASK}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named, **more)


def write(folder: Path, kind: str, config: Any, reader: Any, seed: int = 4, **generation: Any) -> None:
    """A model of class `kind`; the seeds are such that answers have variety, and some of them end."""
    config.vocab_size = len(reader)
    torch.manual_seed(seed)
    model = getattr(transformers, kind)(config).eval()
    if generation:
        model.generation_config.update(**generation)
    model.save_pretrained(folder)
    reader.save_pretrained(folder)


def make(folder: Path) -> None:
    """All models, each in the folder of its name."""
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 3}
    t5 = transformers.T5Config(
        d_model=48, d_kv=12, d_ff=96, num_layers=3, num_decoder_layers=2, num_heads=4, n_positions=256,
        decoder_start_token_id=0, initializer_factor=4.0, feed_forward_proj="gated-gelu", **ids,
    )  # fmt: skip
    write(folder / "t5", "T5ForConditionalGeneration", t5, tokenizer("pieces", f"$A {END}"), seed=1)
    bart = transformers.BartConfig(
        d_model=48, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=128,
        decoder_start_token_id=1, forced_eos_token_id=None, init_std=0.5, **ids,
    )  # fmt: skip
    write(
        folder / "bart",
        "BartForConditionalGeneration",
        bart,
        tokenizer("bytes", PLAIN),
        no_repeat_ngram_size=2,
    )

    # One that Transformers knows and this runtime cannot run: it asks its encoder for more than states.
    moe = transformers.NllbMoeConfig(
        d_model=48, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=96, decoder_ffn_dim=96, num_experts=2, decoder_start_token_id=1, **ids,
    )  # fmt: skip
    write(folder / "moe", "NllbMoeForConditionalGeneration", moe, tokenizer("bytes", PLAIN))

    small: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
    }
    small |= {"initializer_range": 0.4, "max_position_embeddings": 128, **ids}
    named = {"id2label": {0: "negative", 1: "neutral", 2: "positive"}}
    pair = f"{CLASS} $A {SEPARATE} $B:1 {SEPARATE}:1"
    words = tokenizer("words", f"{CLASS} $A {SEPARATE}", pair)
    bert = transformers.BertConfig(**small, **named)
    write(folder / "bert", "BertForSequenceClassification", bert, words)
    cross = transformers.BertConfig(**small, num_labels=1)
    write(folder / "cross", "BertForSequenceClassification", cross, words)
    write(folder / "encoder", "BertModel", transformers.BertConfig(**small), words)
    tags = {"id2label": dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))}
    roberta = transformers.RobertaConfig(**small | {"initializer_range": 0.15}, **tags)
    spaced = tokenizer("bytes", PLAIN, add_prefix_space=True)
    write(folder / "roberta", "RobertaForTokenClassification", roberta, spaced)
    xlnet = transformers.XLNetConfig(
        d_model=48, n_layer=2, n_head=4, d_inner=96, initializer_range=0.4,
        **ids, **named,
    )  # fmt: skip
    last = tokenizer("pieces", f"$A {SEPARATE} {CLASS}:2", padding_side="left", pad_token_type_id=3)
    write(folder / "xlnet", "XLNetForSequenceClassification", xlnet, last)


class Asked:
    """Transformers with the models of a folder, each loaded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[tuple[str, str], Any] = {}

    def load(self, kind: str, name: str) -> Any:
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = getattr(transformers, kind).from_pretrained(self._folder / name)
        return self._loaded[kind, name]

    def answer(self, question: dict[str, Any]) -> Any:
        name = question["model"]
        reader = self.load("AutoTokenizer", name)
        with torch.inference_mode():
            match question["do"]:
                case "generate":
                    model = self.load("AutoModelForSeq2SeqLM", name)
                    out = model.generate(
                        **_tensors(reader, question["text"]),
                        max_new_tokens=question["tokens"], do_sample=False, num_beams=1,
                    )  # fmt: skip
                    ids = out[0].tolist()[1:]
                    return {"ids": ids, "text": reader.decode(ids, skip_special_tokens=True)}
                case "classify":
                    model = self.load("AutoModelForSequenceClassification", name)
                    chances = model(**_tensors(reader, question["text"])).logits[0].softmax(-1).tolist()
                    label = model.config.id2label[max(range(len(chances)), key=chances.__getitem__)]
                    return {"probs": chances, "label": label}
                case "score":
                    model = self.load("AutoModelForSequenceClassification", name)
                    return [
                        float(model(**_tensors(reader, *pair)).logits[0, 0].sigmoid())
                        for pair in question["pairs"]
                    ]
                case "embed":
                    states = self.load("AutoModel", name)(**_tensors(reader, question["text"]))
                    vector = states.last_hidden_state[0].mean(dim=0)
                    return (vector / vector.norm()).tolist()
                case "entities":
                    tagger = transformers.pipeline(
                        "token-classification", aggregation_strategy="simple", tokenizer=reader,
                        model=self.load("AutoModelForTokenClassification", name),
                    )  # fmt: skip
                    found = tagger(question["text"])
                    return [
                        {
                            "label": each["entity_group"],
                            "score": float(each["score"]),
                            "start": each["start"],
                            "end": each["end"],
                        }
                        for each in found
                    ]
        raise ValueError(question["do"])


def _tensors(reader: Any, *texts: str) -> Any:
    taken = reader(*texts, return_tensors="pt")
    return {name: taken[name] for name in taken}


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        asked = Asked(Path(sys.argv[2]))
        for line in sys.stdin:
            print(json.dumps(asked.answer(json.loads(line))), flush=True)
