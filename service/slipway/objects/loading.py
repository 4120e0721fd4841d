"""YAML to objects, with every mistake named by file, line, column and field, and how to mend it.

`load` reads all documents of one text and raises one `LoadError` that holds all that is wrong with them.
YAML is composed to nodes, whose marks give the lines; the values made from the nodes go through the
objects' pydantic models as strict JSON, which is what an API server would accept.
"""

import difflib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from slipway.objects.apikeys import APIKey
from slipway.objects.finetunes import FineTune
from slipway.objects.llmservices import LLMService
from slipway.objects.meta import API_VERSION
from slipway.objects.modelroutes import ModelRoute
from slipway.objects.owners import Owner
from slipway.objects.sentences import sentence

Object = LLMService | APIKey | Owner | ModelRoute | FineTune
Kind = type[LLMService] | type[APIKey] | type[Owner] | type[ModelRoute] | type[FineTune]
KINDS: dict[str, Kind] = {
    "LLMService": LLMService,
    "APIKey": APIKey,
    "Owner": Owner,
    "ModelRoute": ModelRoute,
    "FineTune": FineTune,
}
MAX_BYTES = 256 * 1024
MAX_NODES = 50_000
"""Values in one document after its aliases are followed: `&a [*b, *b]` bombs grow past it."""
MAX_DEPTH = 64


@dataclass(frozen=True)
class Problem:
    """One mistake. `line` and `column` count from 1; 0 where the file as a whole is meant."""

    source: str
    line: int
    column: int
    message: str
    path: str = ""
    """The field, such as `spec.engine.maxModelLen`."""
    subject: str = ""
    """The object, such as `LLMService smollm2-135m`."""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return ": ".join(part for part in (place, self.subject, self.path, self.message) if part)


class LoadError(Exception):
    """A file that cannot be taken as it is; `problems` holds every mistake in the order of the lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Loaded:
    """The objects of a file, in its order."""

    services: tuple[LLMService, ...] = ()
    keys: tuple[APIKey, ...] = ()
    owners: tuple[Owner, ...] = ()
    routes: tuple[ModelRoute, ...] = ()
    fine_tunes: tuple[FineTune, ...] = ()


def load_file(path: Path) -> Loaded:
    """The objects in the file `path`. Raises LoadError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        hint = difflib.get_close_matches(path.name, _neighbours(path), n=1)
        mend = f"did you mean {path.with_name(hint[0])}?" if hint else "name a file of objects with -f FILE"
        raise LoadError([Problem(str(path), 0, 0, f"there is no such file; {mend}")]) from None
    except IsADirectoryError:
        raise LoadError([Problem(str(path), 0, 0, "this is a folder; name a file in it")]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise LoadError([Problem(str(path), 0, 0, message)]) from None
    return load(data, str(path))


def load(data: bytes, source: str) -> Loaded:
    """The objects in the YAML text `data`; `source` names it in messages. Raises LoadError."""
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1024} KiB; objects are small: is this the right file?"
        raise LoadError([Problem(source, 0, 0, message)])
    text = _decode(data, source)
    problems: list[Problem] = []
    found: list[tuple[Object, yaml.MappingNode]] = []
    for node in _documents(text, source, problems):
        made = _object(node, source, problems)
        if made is not None and isinstance(node, yaml.MappingNode):
            found.append((made, node))
    if not found and not problems:
        message = "holds no objects; begin with `apiVersion: slipway.dev/v1alpha1` and `kind: LLMService`"
        problems.append(Problem(source, 0, 0, message))
    problems += _clashes(found, source)
    if problems:
        raise LoadError(problems)
    objects = [made for made, _ in found]
    return Loaded(
        tuple(made for made in objects if isinstance(made, LLMService)),
        tuple(made for made in objects if isinstance(made, APIKey)),
        tuple(made for made in objects if isinstance(made, Owner)),
        tuple(made for made in objects if isinstance(made, ModelRoute)),
        tuple(made for made in objects if isinstance(made, FineTune)),
    )


def _neighbours(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise LoadError([Problem(source, line, column, message)]) from None


def _documents(text: str, source: str, problems: list[Problem]) -> Iterator[yaml.Node]:
    """The root node of each document; what cannot be parsed ends the stream and is reported."""
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_node():
            root = loader.get_node()
            empty = isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null") and not root.value
            if root is not None and not empty:
                yield root
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        message = f"character U+{error.character:04X} is not allowed in YAML; remove it"
        problems.append(Problem(source, line, column, message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        problems.append(Problem(source, line, column, _syntax(error, text, line)))
    except RecursionError:
        problems.append(Problem(source, 0, 0, f"is nested too deeply; at most {MAX_DEPTH} levels are read"))
    finally:
        loader.dispose()


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """What is wrong with the YAML itself, with the usual cause where it can be told."""
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    said = error.problem or error.context or "cannot be parsed"
    if "\t" in here[: len(here) - len(here.lstrip())] or "'\\t'" in said:
        return "not YAML: the line is indented with a tab; indent with spaces"
    if "mapping values are not allowed" in said:
        mend = "; a value that holds `: ` needs quotes, and fields of one level begin in one column"
    elif "found undefined alias" in said:
        mend = "; name the anchor (`&name`) before it is used"
    elif "expected <block end>" in said or "could not find expected ':'" in said:
        mend = "; check the indentation: fields of one level begin in one column"
    elif "found unexpected end of stream" in said:
        mend = "; a quote or bracket is not closed"
    else:
        mend = ""
    return f"not YAML: {said}{mend}"


def _problem(source: str, node: yaml.Node, message: str, path: str = "", subject: str = "") -> Problem:
    return Problem(source, node.start_mark.line + 1, node.start_mark.column + 1, message, path, subject)


# What PyYAML's constructors raise for a scalar that does not fit its tag, such as `!!timestamp x`.
_CONSTRUCTION = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError)


class _TooMuchError(Exception):
    """A document that grows past MAX_NODES or MAX_DEPTH."""


class _Values:
    """Plain values of the nodes of one document; collects what YAML allows and JSON does not."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._left = MAX_NODES
        self._scalars = yaml.constructor.SafeConstructor()

    def of(self, node: yaml.Node, path: str = "", depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise _TooMuchError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, "a field's name is plain text, not a list or a mapping", path)
                continue
            key = key_node.value
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._report(key_node, "merge keys (`<<`) are not read; write the fields out", path)
                continue
            where = f"{path}.{key}" if path else key
            if key in values:
                self._report(key_node, f"is given twice, first in line {first[key]}; keep one", where)
            first.setdefault(key, key_node.start_mark.line + 1)
            values[key] = self.of(value_node, where, depth + 1)
        return values

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._report(node, f"the tag {node.tag} is not read; write a plain value", path)
            return None
        if node.tag.endswith((":timestamp", ":binary")):
            try:
                value = self._scalars.construct_object(node)
            except _CONSTRUCTION:
                return node.value
            return value.isoformat() if isinstance(value, date | datetime) else node.value
        try:
            value = self._scalars.construct_object(node)
        except _CONSTRUCTION:
            self._report(node, f"`{shorten(node.value)}` is not a value of type {node.tag[18:]}", path)
            return None
        if isinstance(value, int) and value.bit_length() > 64:
            self._report(node, "is too large a number", path)
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._report(node, "must be a finite number", path)
            return None
        return value if isinstance(value, str | int | float | bool | None) else node.value

    def _report(self, node: yaml.Node, message: str, path: str) -> None:
        self.problems.append(_problem(self.source, node, message, path))


def shorten(text: object, length: int = 60) -> str:
    """`text` on one line, cut to `length` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _object(root: yaml.Node, source: str, problems: list[Problem]) -> Object | None:
    if not isinstance(root, yaml.MappingNode):
        message = "this document is not an object; it begins with `apiVersion:` and `kind:`"
        problems.append(_problem(source, root, message))
        return None
    values = _Values(source)
    try:
        data = values.of(root)
        text = json.dumps(data)
    except (_TooMuchError, RecursionError):
        message = (
            f"grows past {MAX_NODES} values or {MAX_DEPTH} levels when its aliases (`*name`) are followed;"
            " write less"
        )
        problems.append(_problem(source, root, message))
        return None
    model = _model(root, data, source, problems)
    problems += values.problems
    if model is None:
        return None
    try:
        made = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        metadata = data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        subject = f"{model.__name__} {shorten(name)}" if isinstance(name, str) else model.__name__
        silenced = {problem.path for problem in values.problems}
        for each in error.errors(include_url=False, include_context=True):
            problem = _field_problem(root, model, dict(each), source, subject)
            if problem.path not in silenced:
                problems.append(problem)
        return None
    return made if not values.problems else None


def _model(root: yaml.MappingNode, data: dict[str, Any], source: str, problems: list[Problem]) -> Kind | None:
    """The model that the document's apiVersion and kind ask for; reports what does not fit."""
    before = len(problems)
    for field, allowed in (("apiVersion", [API_VERSION]), ("kind", list(KINDS))):
        if field not in data:
            message = f"is missing; add `{field}: {allowed[0]}`" + (
                f" ({' or '.join(allowed)})" if len(allowed) > 1 else ""
            )
            problems.append(_problem(source, root, message, field))
        elif data[field] not in allowed:
            value = data[field]
            close = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.65)
            mend = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(allowed)}"
            node = _find(root, (field,))[0]
            message = f"`{shorten(value)}` is not known; {mend}"
            problems.append(_problem(source, node, message, field))
    return KINDS[data["kind"]] if len(problems) == before else None


def _find(root: yaml.Node, loc: Sequence[int | str]) -> tuple[yaml.Node, yaml.Node | None, list[int | str]]:
    """The node at `loc`, the key that leads to it, and the part of `loc` that exists."""
    node, key, walked = root, None, []
    for step in loc:
        if isinstance(node, yaml.MappingNode) and isinstance(step, str):
            pairs = [pair for pair in node.value if getattr(pair[0], "value", None) == step]
            if not pairs:
                break
            key, node = pairs[-1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            key, node = None, node.value[step]
        else:
            break
        walked.append(step)
    return node, key, walked


def dotted(loc: Sequence[int | str]) -> str:
    """`("spec", "adapters", 0, "name")` as `spec.adapters[0].name`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _field_problem(
    root: yaml.MappingNode, model: type[BaseModel], error: dict[str, Any], source: str, subject: str
) -> Problem:
    loc = tuple(error["loc"])
    node, key, walked = _find(root, loc)
    if error["type"] in ("missing", "extra_forbidden"):
        parent, leaf = loc[:-1], str(loc[-1])
        fields = _fields(model, parent)
        if error["type"] == "missing":
            owner, owner_key, _ = _find(root, parent)
            given = [pair[0].value for pair in owner.value] if isinstance(owner, yaml.MappingNode) else []
            unknown = [name for name in given if name not in fields]
            close = difflib.get_close_matches(leaf, [str(name) for name in unknown], n=1)
            mend = f"; `{close[0]}` is not a field, rename it" if close else ""
            return _problem(source, owner_key or owner, f"is missing{mend}", dotted(loc), subject)
        close = difflib.get_close_matches(leaf, fields, n=1, cutoff=0.65)
        mend = f"did you mean {close[0]}?" if close else f"known here: {', '.join(fields)}"
        return _problem(source, key or node, f"there is no such field; {mend}", dotted(loc), subject)
    raw = node.value if isinstance(node, yaml.ScalarNode) else None
    message = sentence(error, shorten(raw) if raw is not None else None)
    return _problem(source, node, message, dotted(walked), subject)


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The names of the fields that the model has at `loc`, as written in YAML."""
    current: Any = model
    for step in loc:
        if isinstance(step, int):
            current = next(iter(get_args(_plain(current))), None)
            continue
        kind = _plain(current)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        match = [field for field in kind.model_fields.values() if field.alias == step]
        if not match:
            return []
        current = match[0].annotation
    kind = _plain(current)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _plain(annotation: Any) -> Any:
    """The type inside `Annotated` and `… | None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next((part for part in get_args(annotation) if part is not type(None)), None)
        else:
            return annotation


def _served(made: Object) -> tuple[str, ...]:
    """The names that clients can put into `model` because of this object."""
    if isinstance(made, LLMService):
        return made.served_names
    return (made.served_name,) if isinstance(made, ModelRoute) else ()


def _clashes(found: list[tuple[Object, yaml.MappingNode]], source: str) -> Iterator[Problem]:
    """Objects with one name, and services that serve one name."""
    objects: dict[tuple[str, str], int] = {}
    served: dict[str, tuple[str, int]] = {}
    for made, root in found:
        subject = f"{made.kind} {made.metadata.name}"
        node = _find(root, ("metadata", "name"))[0]
        line = node.start_mark.line + 1
        first = objects.setdefault((made.kind, made.metadata.name), line)
        if first != line:
            message = f"is the name of the {made.kind} in line {first} too; rename one of them"
            yield _problem(source, node, message, "metadata.name", subject)
            continue
        for at, name in enumerate(_served(made)):
            loc: tuple[int | str, ...] = ("spec", "model", "name")
            if at:
                loc = ("spec", "adapters", at - 1, "name")
            elif isinstance(made, ModelRoute):
                loc = ("spec", "name")
            where, _, walked = _find(root, loc)
            if len(walked) < len(loc):
                loc, where = ("metadata", "name"), node
            other = served.setdefault(name, (subject, where.start_mark.line + 1))
            if other != (subject, where.start_mark.line + 1):
                message = f"`{name}` is served by {other[0]} too (line {other[1]}); give one another name"
                yield _problem(source, where, message, dotted(loc), subject)
