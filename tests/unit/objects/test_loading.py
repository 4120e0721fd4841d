"""YAML to objects: each mistake is named by line, column, field and mend, and none is a traceback."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.objects.loading import MAX_BYTES, LoadError, load, load_file

GOOD = """\
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata:
  name: small
spec:
  model:
    source: hf://org/name@main
    name: small-chat
  engine:
    maxModelLen: 2048
    env: {A: "1"}
    args: [--enforce-eager]
  replicas: 2
  adapters:
  - {name: formal, source: s3://bucket/formal}
---
apiVersion: slipway.dev/v1alpha1
kind: APIKey
metadata:
  name: local
spec:
  models: ["small*"]
  expiresAt: 2030-01-31T00:00:00Z
"""
SERVICE = "apiVersion: slipway.dev/v1alpha1\nkind: LLMService\nmetadata: {name: a}\nspec:\n"
KEY = "apiVersion: slipway.dev/v1alpha1\nkind: APIKey\nmetadata: {name: k}\nspec:\n"
MODEL = "  model: {source: 'hf://x/y'}\n"
NAMED = "  model: {source: 'hf://x/y', name: a}\n"
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcde", "bcdef", strict=True)
)


def complaints(text: str | bytes) -> list[str]:
    with pytest.raises(LoadError) as caught:
        load(text.encode() if isinstance(text, str) else text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_objects_come_in_the_order_of_the_file() -> None:
    loaded = load(GOOD.encode(), "f.yaml")
    (service,), (key,) = loaded.services, loaded.keys
    assert service.served_names == ("small-chat", "formal")
    assert service.spec.engine.max_model_len == 2048
    assert service.spec.engine.env == {"A": "1"}
    assert service.spec.replicas == 2
    assert key.spec.models == ("small*",)
    assert key.spec.expires_at is not None
    assert key.spec.expires_at.isoformat() == "2030-01-31T00:00:00+00:00"


def test_aliases_and_a_byte_order_mark_are_read() -> None:
    text = SERVICE + "  model: &m {source: 'hf://x/y'}\n---\n" + KEY + "  models: [&x a, *x]\n"
    assert load(b"\xef\xbb\xbf" + text.encode(), "f.yaml").keys[0].spec.models == ("a", "a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SERVICE + MODEL + "  engine:\n    maxModelLenght: 1\n",
            "f.yaml:7:5: LLMService a: spec.engine.maxModelLenght: there is no such field; "
            "did you mean maxModelLen?",
        ),
        (
            SERVICE + MODEL + "  colour: red\n",
            "f.yaml:6:3: LLMService a: spec.colour: there is no such field; "
            "known here: model, engine, cache, replicas, autoscaling, rollout, adapters",
        ),
        (
            SERVICE + MODEL + "  adapters:\n  - {name: x, sorce: 'hf://a/b', source: 'hf://a/b'}\n",
            "f.yaml:7:15: LLMService a: spec.adapters[0].sorce: there is no such field; did you mean source?",
        ),
        (SERVICE + "  replicas: 1\n", "f.yaml:4:1: LLMService a: spec.model: is missing"),
        (
            SERVICE + "  modle: {source: 'hf://x/y'}\n",
            "f.yaml:4:1: LLMService a: spec.model: is missing; `modle` is not a field, rename it",
        ),
        (
            SERVICE + MODEL + "  replicas: two\n",
            "f.yaml:6:13: LLMService a: spec.replicas: wants a whole number, not `two`",
        ),
        (
            SERVICE + MODEL + "  replicas: '2'\n",
            "f.yaml:6:13: LLMService a: spec.replicas: wants a whole number, not `2`; "
            "a number or true and false are written without quotes",
        ),
        (SERVICE + MODEL + "  replicas: yes\n", "spec.replicas: wants a whole number, not `yes`"),
        (SERVICE + MODEL + "  replicas: 1.5\n", "spec.replicas: wants a whole number, not `1.5`"),
        (SERVICE + MODEL + "  replicas: .inf\n", "f.yaml:6:13: spec.replicas: must be a finite number"),
        (SERVICE + MODEL + "  replicas: -1\n", "spec.replicas: `-1` is too small; at least 0"),
        (SERVICE + MODEL + "  replicas: 5000\n", "spec.replicas: `5000` is too large; at most 1000"),
        (SERVICE + MODEL + "  replicas:\n", "spec.replicas: wants a whole number, not nothing"),
        (
            SERVICE + MODEL + "  engine: {env: {A: 1}}\n",
            'spec.engine.env.A: wants text, not `1`; write "1" with quotes',
        ),
        (SERVICE + MODEL + "  engine: {args: --x}\n", "spec.engine.args: wants a list"),
        (SERVICE + MODEL + "  engine: fast\n", "spec.engine: wants a mapping (`name: value`), not `fast`"),
        (
            SERVICE + MODEL + "  engine: {device: tpu}\n",
            "spec.engine.device: `tpu` is not allowed; allowed: auto, cpu, gpu",
        ),
        (
            SERVICE + "  model: {source: 'https://x/y'}\n",
            "spec.model.source: `https://x/y` is not a source: file:///path",
        ),
        (
            SERVICE + MODEL + "  autoscaling: {stableWindow: 1d}\n",
            "spec.autoscaling.stableWindow: `1d` is not a duration: hours, minutes and seconds such as 30s",
        ),
        (
            SERVICE + MODEL + "  autoscaling: {minReplicas: 9}\n",
            "f.yaml:6:16: LLMService a: spec.autoscaling: minReplicas is larger than maxReplicas; lower",
        ),
        (
            SERVICE + MODEL + "  rollout: {strategy: Canary, steps: [{weight: 1, pause: never}]}\n",
            "spec.rollout.steps[0].pause: `never` is not a pause: a duration such as 30s",
        ),
        (
            SERVICE + MODEL + "  engine: {resources: {limits: {cpu: 0.5}}}\n",
            'spec.engine.resources.limits.cpu: wants text, not `0.5`; write "0.5" with quotes',
        ),
        (
            SERVICE + MODEL + "  engine: {resources: {limits: {memory: 24GB}}}\n",
            "spec.engine.resources.limits.memory: `24GB` is not an amount: digits and perhaps a unit",
        ),
        (
            SERVICE.replace("name: a", "name: My_Model") + MODEL,
            "f.yaml:3:18: LLMService My_Model: metadata.name: `My_Model` is not a name: lower case letters",
        ),
        (SERVICE.replace("metadata: {name: a}", "metadata: {}") + MODEL, "metadata.name: is missing"),
        (SERVICE.replace("name: a", "name: 12") + MODEL, 'metadata.name: wants text, not `12`; write "12"'),
        (KEY + "  expiresAt: 2030-01-01\n", "spec.expiresAt: `2030-01-01` is not a time; write it as"),
        (KEY + "  expiresAt: 2030-01-01T00:00:00\n", "has no time zone; write it as 2030-01-31T00:00:00Z"),
        (KEY + "  expiresAt: tomorrow\n", "spec.expiresAt: `tomorrow` is not a time"),
        (KEY + "  disabled: 'no'\n", "spec.disabled: wants true or false, not `no`"),
        (KEY + "  owner: ''\n", "spec.owner: is too short; at least 1 characters"),
        (
            KEY + "  owner: a\n  owner: b\n",
            "f.yaml:6:3: spec.owner: is given twice, first in line 5; keep one",
        ),
        ("kind: LLMService\n", "apiVersion: is missing; add `apiVersion: slipway.dev/v1alpha1`"),
        ("apiVersion: slipway.dev/v1alpha1\n", "kind: is missing; add `kind: LLMService`"),
        ("apiVersion: slipway.dev/v1\nkind: APIKey\n", "did you mean slipway.dev/v1alpha1?"),
        (KEY.replace("APIKey", "Secret"), "f.yaml:2:7: kind: `Secret` is not known; allowed: LLM"),
        (KEY.replace("APIKey", "ApiKey"), "did you mean APIKey?"),
        ("- 1\n", "f.yaml:1:1: this document is not an object"),
        ("", "f.yaml: holds no objects"),
        ("# nothing\n---\n---\n", "f.yaml: holds no objects"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: not YAML: the line is indented with a tab; indent with spaces"),
        ("a:\n  b: 1\n c: 2\n", "f.yaml:3:2: not YAML"),
        ("a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed here; a value that holds `: `"),
        ("a: *b\n", "name the anchor (`&name`) before it is used"),
        ("a: 'x\n", "a quote or bracket is not closed"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:1: apiVersion: is missing"),
        (KEY + "  <<: {owner: a}\n", "merge keys (`<<`) are not read; write the fields out"),
        (KEY + "  owner: !!python/name:os.system x\n", "spec.owner: "),
        (KEY + "  owner: !mine x\n", "spec.owner: the tag !mine is not read; write a plain value"),
        ("a: \x01\n", "f.yaml:1:4: character U+0001 is not allowed in YAML; remove it"),
        (b"a: \xff\n", "f.yaml:1:4: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "is larger than 256 KiB"),
        ("[" * 4000, "f.yaml: is nested too deeply"),
        ("a: " + "[" * 80 + "]" * 80, "f.yaml:1:1: grows past"),
        ("a: &a [*a]\n", "f.yaml:1:1: grows past"),
        (BOMB, "grows past 50000 values"),
        (SERVICE + MODEL + f"  replicas: 0x{'f' * 5000}\n", "spec.replicas: is too large a number"),
        (SERVICE + MODEL + f"  replicas: {'9' * 5000}\n", "is not a value of type int"),
        (
            KEY + "  owner: a\n---\n" + KEY + "  owner: a\n",
            "f.yaml:9:18: APIKey k: metadata.name: is the name of the APIKey in line 3 too; rename",
        ),
        (
            SERVICE + MODEL + "---\n" + SERVICE.replace("{name: a}", "{name: b}") + NAMED,
            "f.yaml:11:37: LLMService b: spec.model.name: `a` is served by LLMService a too (line 3); "
            "give one another name",
        ),
        (
            SERVICE + MODEL + "  adapters: [{name: a, source: 'hf://a/b'}]\n",
            "`a` is served by LLMService a too (line 3)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_mend(text: str | bytes, expected: str) -> None:
    found = complaints(text)
    assert any(expected in line for line in found), found


def test_all_mistakes_are_named_at_once_in_the_order_of_the_lines() -> None:
    text = SERVICE + MODEL + "  replicas: x\n  foo: 1\n---\n" + KEY + "  owner: 3\n---\nkind: X\n---\na: [\n"
    found = complaints(text)
    assert [int(line.split(":")[1]) for line in found] == [6, 7, 13, 15, 15, 18]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "slipway.yaml").write_text(GOOD)
    assert len(load_file(tmp_path / "slipway.yaml").services) == 1
    with pytest.raises(LoadError, match=r"there is no such file; did you mean .*/slipway\.yaml\?"):
        load_file(tmp_path / "slipway.yml")
    with pytest.raises(LoadError, match="this is a folder"):
        load_file(tmp_path)
    with pytest.raises(LoadError, match="there is no such file"):
        load_file(tmp_path / "nowhere" / "x.yaml")


PIECES = st.sampled_from(
    ["\t", ": ", "- ", "&a ", "*a", "{", "}", "[", "]", "'", '"', "|\n", "---\n", "\n", "? ", "!!int ", "!x ",
     "<<: ", "0x", ".nan", "null", "2001-01-01", "é", "\x00", "\x85", "\u2028", "%YAML 9.9\n", "!!binary ",
     "=", "!!set ", "!!timestamp x", "0b", "1:2:3", "~", "!!float _", "!!bool 7", "\ufeff"]
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), PIECES), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_mangled_files_give_sentences_with_places_inside_the_file(
    edits: list[tuple[int, int, str]],
) -> None:
    text = GOOD
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    try:
        load(text.encode(), "f.yaml")
    except LoadError as error:
        problems = error.problems
    else:
        return
    lines = text.count("\n") + text.count("\x85") + text.count("\u2028") + 2
    assert problems
    for problem in problems:
        assert 0 <= problem.line <= lines
        assert problem.message
        assert "\n" not in str(problem)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_objects_or_sentences(data: bytes) -> None:
    with suppress(LoadError):
        load(data, "f.yaml")
