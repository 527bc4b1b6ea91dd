"""The configuration: what every key means, its default and its range, and which keys cannot stand together.

The models below are the one source: schemas/config.schema.yaml and docs/configuration.md are written from them.
A key whose default is null "follows": it takes the value that its description names, so that a small run needs no
other key changed. Every job parses the configuration, so this module imports pydantic and yaml and nothing else.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from triaxis.base.checkpoints import STEP, TRAIN, measured_models, source_at
from triaxis.base.choices import MethodName, PerturbationName, VariantName
from triaxis.base.errors import UserError
from triaxis.base.names import ENDS, is_control
from triaxis.base.section import ALL, LIST, NAME, Section, distinct, explain, from_text, named, rank, refuse, shown
from triaxis.base.source_text import Source, parse_source, require_files, require_model

# Keys of earlier versions, and what takes their place.
RENAMED = {
    "fits.half_seed": "it is fits.heldout_seed now, of other cells: a third of them, not a half",
    "features.device": "it is run.device now",
    "features.dtype": "it is run.dtype now",
    "run.batch": "it is run.batch_tokens now, in tokens: a batch times sequences.length",
    "features.batch": "it is run.batch_tokens now, in tokens",
    "mechanism": "additivity is exact now and has no grid of queries and keys; what is left of it is dummies.distances",
    "related": "slash scores are measures of heads now, on heads.queries queries; the other measures are gone",
    "tolerance.ways": "it is tolerance.perturbations now",
    "length_short": "it is gone; write what it held under length, and add length to experiments",
}


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with every default filled in. Raises UserError, one line, at the fault that is most useful to know."""
    try:
        return Config.model_validate(config).model_dump(exclude={"also"})
    except ValidationError as error:
        line = explain(min(error.errors(), key=rank), Config, RENAMED)
        raise UserError(" ".join(line.split())) from None


def over(given: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration over the default one, as a run takes it: its models and its corpus replace the default's, its
    other sections change what they name."""
    merged = dict(default)
    for key, own in given.items():
        usual = None if key in ("models", "corpus") else merged.get(key)
        merged[key] = over(own, usual) if isinstance(own, Mapping) and isinstance(usual, Mapping) else own
    return merged


# What values can be


def _all_or_list(value: Any) -> Any:
    if value != "all" and not isinstance(value, list):
        raise refuse(f"is {shown(value)}, but is either all or a list of numbers, such as [0, 1]")
    return value


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, str) and not value.startswith("[") else value


def _own_names(models: dict[str, Any]) -> dict[str, Any]:
    for name in models:
        if end := re.search(ENDS, name):
            whose = "control" if is_control(name) else "checkpoint"
            raise refuse(f"holds the name '{name}', but {end[0]} is the end of a {whose}'s name: choose another")
    return models


def _nested(value: Any) -> Any:
    """A mapping whose values, nested ones too, are read as YAML where they are text."""
    if isinstance(value, dict):
        return {key: _nested(own) for key, own in value.items()}
    return [_nested(own) for own in value] if isinstance(value, list) else from_text(value)


UNIQUE: Any = {"uniqueItems": True}

Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
SourceText = Annotated[str, Field(json_schema_extra={"pattern": r"^(hub|path|pypi):.+$"})]
ModelText = Annotated[str, Field(json_schema_extra={"pattern": rf"^((hub|path|pypi):.+|{TRAIN})$"})]
# Of one model: its source and digest, or those of all parts of a GGUF file.
Sources = Annotated[
    Annotated[ModelText, Tag(ALL)] | Annotated[list[SourceText], AfterValidator(distinct), Tag(LIST)],
    Discriminator(lambda value: LIST if isinstance(value, list) else ALL),
]
Digests = Annotated[
    Annotated[Digest | None, Tag(ALL)] | Annotated[list[Digest], Tag(LIST)],
    Discriminator(lambda value: LIST if isinstance(value, list) else ALL),
]
Depths = Annotated[list[Fraction], AfterValidator(distinct), Field(min_length=1, json_schema_extra=UNIQUE)]
Numbers = Annotated[list[Number], AfterValidator(distinct), Field(min_length=1, json_schema_extra=UNIQUE)]
Chosen = Annotated[
    Annotated[Literal["all"], Tag(ALL)]
    | Annotated[list[Number], AfterValidator(distinct), Field(min_length=1, json_schema_extra=UNIQUE), Tag(LIST)],
    Discriminator(lambda value: LIST if isinstance(value, list) else ALL),
    BeforeValidator(_all_or_list),
]

Experiment = Literal["mechanism", "heads", "length", "surgery", "tolerance", "tasks", "training"]


# The sections

TASKS = ("cloze", "passkey", "longbench", "harness")


def _check_source(text: str, sha256: str | None, require: Callable[[Source], None]) -> None:
    """Refuse a source that does not parse, cannot be what it is taken for, or lacks the digest that it needs."""
    try:
        source = parse_source(text)
        require(source)
    except UserError as error:
        raise refuse(f"is wrong: {error}", "source") from None
    if source.kind == "pypi" and sha256 is None:
        raise refuse(f"is missing: {text} needs the digest of its file, which sha256sum prints", "sha256")


class Training(Section):
    """How a model is trained on the corpus (source: train:)."""

    architecture: Annotated[dict[str, Any], BeforeValidator(_nested), Field(min_length=1)] = Field(
        description="A configuration of transformers: model_type and its sizes, such as {model_type: llama, "
        "hidden_size: 192}; what it leaves out has transformers' defaults, but for the vocabulary, which is the "
        "tokenizer's, and the context (max_position_embeddings), which is training.length"
    )
    vocabulary: Annotated[int, Field(ge=257)] | None = Field(
        None,
        description="Entries of a byte-level BPE tokenizer that is trained on the same documents; null is plain bytes",
    )
    length: Annotated[int, Field(ge=16)] = Field(
        128, description="Tokens in a training sequence; at most architecture.max_position_embeddings, if that is given"
    )
    batch: Count = Field(24, description="Sequences in one forward pass")
    accumulate: Count = Field(1, description="Forward passes whose gradients make one step")
    steps: Count = Field(1600, description="Steps of the whole training, whichever of them are measured")
    learning_rate: float = Field(1.0e-3, gt=0, description="The highest learning rate, of AdamW")
    warmup: Number | None = Field(
        None,
        description="Steps in which the learning rate rises to it; then it falls to 0 as a half cosine. Null is a "
        "twentieth of training.steps",
    )
    weight_decay: float = Field(0.1, ge=0, description="The weight decay of AdamW")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="The precision of the arithmetic; weights are float32 (bfloat16: autocast)"
    )
    heldout: Count = Field(
        20, description="Documents that are held out: the model is trained on none of them, and measured on them alone"
    )
    split_seed: Number = Field(0, description="The seed of the choice of these documents")

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.architecture.get("model_type")
        if not isinstance(kind, str):
            raise refuse("has no model_type: name one that transformers knows, such as llama", "architecture")
        context = self.architecture.get("max_position_embeddings", self.length)
        if isinstance(context, int) and self.length > context:
            raise refuse(
                f"is {self.length}, longer than the context, architecture.max_position_embeddings {context}: lower it",
                "length",
            )
        if self.warmup is None:
            self.warmup = self.steps // 20
        if self.warmup > self.steps:
            raise refuse(f"is {self.warmup}, more than training.steps {self.steps}: lower it", "warmup")
        return self


class Model(Section):
    """One model, or a series of checkpoints of one, each of which is measured as a model of its own, NAME.stepN."""

    source: Sources = Field(
        description="Where the model lies: hub:OWNER/NAME@REVISION, path:FOLDER-OR-GGUF-FILE, or "
        "pypi:PROJECT==VERSION/FILE-IN-THE-WHEEL; a list of all parts of a GGUF file, if they come apart. Of a series, "
        f"a hub: or path: source in which {STEP} stands for a step's number, or {TRAIN}, which trains it here"
    )
    steps: Numbers | None = Field(
        None, description="The steps of a series, those that are measured, such as [0, 512, 4000]; null is one model"
    )
    training: Training | None = None
    seeds: Numbers | None = Field(
        None,
        description=f"Seeds of a training ({TRAIN}), each of which makes a series of its own, NAME.seedS; null is one "
        "training, with seed 0",
    )
    sha256: Digests = Field(
        None,
        description="The expected digest of the file, needed for pypi and optional for a single path file; a list "
        "beside a list of sources",
    )
    random_control: bool | None = Field(
        None,
        description="Whether to measure NAME-random too, the same architecture with fresh random weights; null is "
        "true, and false for a series, which has one for all its steps if asked for",
    )
    random_seed: Number = Field(0, description="The seed of those random weights")
    capture: Literal["features", "logits"] = Field(
        "features",
        description="What is taken from the model: features (queries and keys before rotation) or, for one without "
        "rotation, logits alone, which get the three-axis fit and no other experiment",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.random_control is None:
            self.random_control = self.steps is None
        self._check_training()
        if self.steps is not None:
            self._check_series(self.steps)
        elif STEP in str(self.source):
            raise refuse(f"has {STEP}, but no steps are given: list them, such as [0, 512, 4000]", "source")
        else:
            self._check_sources()
        return self

    def _check_training(self) -> None:
        """What is for a model that is trained here is given for such a model, and for no other."""
        if self.source != TRAIN:
            for key in ("training", "seeds"):
                if getattr(self, key) is not None:
                    raise refuse(f"is given, but only a model of source '{TRAIN}' is trained here: take it out", key)
            return
        if self.training is None:
            raise refuse(f"is missing: source '{TRAIN}' needs the architecture at least", "training")
        if self.steps is None:
            raise refuse(f"is missing: source '{TRAIN}' needs the steps to measure, such as [0, 100, 1600]", "steps")
        if max(self.steps) > self.training.steps:
            raise refuse(
                f"holds {max(self.steps)}, beyond the last step, training.steps {self.training.steps}: lower it",
                "steps",
            )

    def _check_series(self, steps: list[int]) -> None:
        """The source of a series is one, and one for each step."""
        if self.sha256 is not None:
            raise refuse("is of one file, but a series has other files at each step: take it out", "sha256")
        if self.source == TRAIN:
            return
        if not isinstance(self.source, str) or not self.source.startswith(("hub:", "path:")):
            raise refuse(f"of a series is one hub: or path: source, or '{TRAIN}': give such a one", "source")
        if STEP not in self.source:
            raise refuse(
                f"lacks {STEP}, so that all steps would be one model: put it where the number stands", "source"
            )
        for step in steps:
            _check_source(source_at(self.source, step), None, require_model)

    def _check_sources(self) -> None:
        sources = [self.source] if isinstance(self.source, str) else self.source
        digests = self.sha256 if isinstance(self.sha256, list) else [self.sha256] * len(sources)
        if len(digests) != len(sources) or (len(sources) > 1 and isinstance(self.sha256, str)):
            raise refuse(f"has not one for each of the {len(sources)} sources: give them in the same order", "sha256")
        for source, sha256 in zip(sources, digests, strict=True):
            _check_source(source, sha256, require_model)


class Dialect(Section):
    """How CSV files of the corpus are written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(",", description="What parts two columns")
    quote: Annotated[str, Field(max_length=1)] = Field('"', description="What a text stands in, or '' for nothing")
    escape: Annotated[str, Field(max_length=1)] | None = Field(
        None, description="What stands before a quote that is part of a text, or ''; null is the quote itself"
    )
    skip: Number = Field(0, description="Lines before the header that are passed over")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.delimiter in (self.quote, self.escape):
            raise refuse(f"is {shown(self.delimiter)}, as quote or escape: give another", "delimiter")
        return self


class Corpus(Section):
    """The text that the models read."""

    source: SourceText = Field(
        description="Where the text lies: hub:OWNER/DATASET@REVISION/FILE-OR-GLOB, path:FILE-OR-FOLDER-OR-GLOB, or "
        "pypi:PROJECT==VERSION/FILE-IN-THE-WHEEL"
    )
    sha256: Digest | None = Field(
        None, description="The expected digest of the file, needed for pypi and optional for a single path file"
    )
    format: Literal["auto", "txt", "jsonl", "json", "csv", "parquet"] = Field(
        "auto", description="How the files are written; auto goes by their suffix"
    )
    text: str = Field(
        "text",
        description="The column that holds the text of a document, or a list of texts (not used for txt)",
    )
    title: str | None = Field(None, description="The column that holds a document's title, or null")
    csv: Dialect = Field(default_factory=Dialect)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_source(self.source, self.sha256, require_files)
        return self


class Run(Section):
    """How every rule that runs a model runs it."""

    device: Annotated[str, Field(pattern=r"^(auto|spread|cpu|mps|cuda(:[0-9]+)?)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; spread puts the layers of a large model on all GPUs"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="The precision of the model's weights and arithmetic; the features are stored as float32",
    )
    batch_tokens: Count = Field(
        1024, description="Tokens in one forward pass: as many sequences as these hold, and at least one"
    )


class Sequences(Section):
    """Which stretches of the corpus are read."""

    count: Count = Field(8, description="How many sequences")
    length: int = Field(256, ge=16, description="Tokens in each, the tokenizer's own leading special tokens included")
    per_document: Count = Field(1, description="At most so many (non-overlapping) sequences from one document")
    seed: Number = Field(0, description="The seed of the choice")
    shard: Count = Field(8, description="Sequences in a file and a job; more sequences only add shards")


class Features(Section):
    """Which queries and keys are kept, and how they are checked."""

    layers: Chosen = Field("all", description="The layers to keep, counted from 0, or all")
    tolerance: float = Field(
        1.0e-4,
        gt=0,
        description="How far logits rebuilt from the features may be from the model's own, relative to the largest",
    )


class Logits(Section):
    """Which logit matrices are summed, and which are written."""

    keep: Literal["all", "sample", "none"] = Field(
        "all",
        description="Which are written to logits/: all, and the fits are made of them; sample, some cells of the first "
        "sequence of each shard; or none. With the latter two, the fits are made of the features, which takes time and "
        "memory linear in the length and not its square",
    )
    sample_cells: Annotated[int, Field(ge=136)] = Field(
        65536,
        description="Of a sample, the most cells of a (layer, head): longer sequences are thinned to every so many-th "
        "position, queries and keys alike; the default has every cell up to 361 tokens",
    )
    heads: Chosen = Field("all", description="The query heads to keep, counted from 0, or all")


class Fits(Section):
    """How the fits are judged."""

    heldout_seed: Number = Field(0, description="The seed of the third of the cells that the held-out fit does not see")
    prefixes: Annotated[
        list[Annotated[int, Field(ge=16)]], AfterValidator(distinct), Field(json_schema_extra=UNIQUE)
    ] = Field(
        [],
        description="The first tokens of each sequence, so many, that are fitted by themselves too, such as [256, "
        "1024]; at most sequences.length",
    )
    bootstrap_samples: int = Field(2000, ge=100, description="Resamples of the sequences for the 95 % intervals")
    bootstrap_seed: Number = Field(0, description="The seed of the resampling")


class Dummies(Section):
    """Logit matrices with all distances replaced by one, a dummy distance (part of the experiment mechanism)."""

    distances: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="How many dummy distances, evenly spaced from 0 to sequences.length - 1; at most sequences.length. "
        "Null is 128, or sequences.length where that is less. The cost is that of one fit, whatever the number",
    )


class Heads(Section):
    """What each head is, a row a head (experiment: heads)."""

    queries: Count = Field(
        128,
        description="Attention, whose cost grows with the square of the length, is taken on so many queries, evenly "
        "spaced over the sequence, or on all where they are fewer",
    )
    prompts: Count = Field(
        8,
        description="How many prompts of random tokens that come twice, which induction and duplicate-token scores are "
        "measured on; five give intervals",
    )
    period: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="Tokens of a prompt before they come again. Null is 64, or half of sequences.length where that is "
        "less",
    )
    seed: Number = Field(0, description="The seed of the prompts' tokens")


class Explorer(Section):
    """The page results/explorer.html, on which a click on a head shows what it does."""

    heads: Count = Field(
        300,
        description="How many heads, of all models, have curves, pictures and texts, about 34 kB of the page each: "
        "models as trained first, of each its least additive heads. Every head has its measures",
    )
    tokens: Annotated[int, Field(ge=16)] | None = Field(
        None,
        description="Pictures and texts are of the first tokens of the first sequence, so many; at most "
        "sequences.length. Null is 256, or sequences.length where that is less",
    )
    pixels: Annotated[int, Field(ge=16, le=512)] = Field(
        128, description="The pixels of a side of a picture, at most; where tokens are more, a pixel is a mean of cells"
    )


class Surgery(Section):
    """How the models are run with additive logits in place of their own (experiment: surgery)."""

    sequences: Count | None = Field(
        None,
        description="How many of the first shard's sequences the loss is measured on. Null is 8, or as many as the "
        "first shard has",
    )
    calibration: Count = Field(8, description="How many other sequences the additive logits are calibrated on")
    selection: Count = Field(
        4, description="How many further sequences the best additive form, which the controls follow, is chosen on"
    )
    stepwise: Annotated[list[VariantName], AfterValidator(distinct), Field(json_schema_extra=UNIQUE)] = Field(
        ["f+g"],
        description="The variants that also replace one layer at a time, layers from the first and from the last, and "
        "single heads",
    )
    step_sequences: Count | None = Field(
        None,
        description="How many of the sequences these steps are measured on, in one batch; at most surgery.sequences. "
        "Null is 2, or surgery.sequences where that is less",
    )
    heads_of_layers: Number | None = Field(
        None,
        description="In how many layers, those that cost most alone, heads are replaced one at a time. Null is 3, or "
        "0 without stepwise",
    )
    bands: Annotated[list[Annotated[float, Field(gt=0)]], AfterValidator(distinct), Field(json_schema_extra=UNIQUE)] = (
        Field(
            [0.1, 1, 10],
            description="Where bands of frequencies part, in full turns over a sequence; each is changed alone. An "
            "empty list leaves this out",
        )
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.heads_of_layers is None:
            self.heads_of_layers = 3 if self.stepwise else 0
        if self.heads_of_layers and not self.stepwise:
            raise refuse(
                f"is {self.heads_of_layers}, but surgery.stepwise names no variant: name one, or set it to 0",
                "heads_of_layers",
            )
        return self


def _some_fraction(values: list[float]) -> list[float]:
    if not any(values):
        raise refuse("holds no fraction above 0, so nothing would change places: add one")
    return values


class Tolerance(Section):
    """How the order of words is perturbed, and what the models lose by it (experiment: tolerance)."""

    sequences: Count | None = Field(
        None,
        description="How many sequences, the first ones, are perturbed; at most sequences.count. Null is 4, or "
        "sequences.count where that is less",
    )
    perturbations: Annotated[
        list[PerturbationName], AfterValidator(distinct), Field(min_length=1, json_schema_extra=UNIQUE)
    ] = Field(
        ["text", "position", "feature"],
        description="What is perturbed: the order of the text, the position indices, or the distance in each "
        "attention logit",
    )
    fractions: Annotated[
        list[Fraction],
        AfterValidator(distinct),
        AfterValidator(_some_fraction),
        Field(min_length=1, json_schema_extra=UNIQUE),
    ] = Field(
        [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
        description="The fractions of the words that change places, between 0 and 1; 0, the plain run, is always "
        "among them",
    )
    unit: Literal["word", "token"] = Field(
        "word", description="What changes places, whole words of the text or single tokens"
    )
    window: Count = Field(
        1, description="How many words (or tokens) away the one may be that a word is swapped with; 1 is its neighbour"
    )
    layers: Chosen = Field(
        "all", description="The layers that the feature perturbation changes, counted from 0, or all"
    )
    head_sequences: Number | None = Field(
        None,
        description="On how many sequences, the first ones, each head is perturbed alone, at the largest fraction; "
        "what it costs is predicted from the others. Less than tolerance.sequences and than sequences.shard; null is "
        "half of the lesser, 0 leaves this out",
    )
    seed: Number = Field(0, description="The seed of the swaps")


class Cloze(Section):
    """The last word of real sentences of the corpus."""

    items: Count = Field(20, description="How many sentences")
    context: int = Field(48, ge=8, description="Tokens of the text before the word")


class PasskeyTask(Section):
    """A number hidden in the corpus's text."""

    items: Count = Field(2, description="How many prompts at each depth")
    length: int = Field(128, ge=64, description="Tokens in each prompt; its own sentences take about 60")
    depths: Depths = Field(
        [0.1, 0.5, 0.9], description="Where the number lies in the text, between 0, its start, and 1, its end"
    )


class LongBench(Section):
    """Questions on long documents, in LongBench's format."""

    source: SourceText = Field(
        description="A .jsonl file in LongBench's format, or a .zip of such: hub:OWNER/DATASET@REVISION/FILE, "
        "path:FILE, or pypi:PROJECT==VERSION/FILE-IN-THE-WHEEL"
    )
    sha256: Digest | None = Field(None, description="The expected digest of the file, needed for pypi, or null")
    dataset: str = Field("qasper", description="The name of the .jsonl file in a .zip")
    items: Count = Field(50, description="How many questions, the first ones")
    length: int = Field(3500, ge=64, description="Tokens in a prompt, at the most; a longer one loses its middle")
    new_tokens: Count = Field(128, description="Tokens that the model writes, at the most")
    prompt: str = Field(
        "You are given a scientific article and a question. Answer the question as concisely as you can, using a "
        "single phrase or sentence if possible. If the question cannot be answered based on the information in the "
        'article, write "unanswerable". If the question is a yes/no question, answer "yes", "no", or "unanswerable". '
        "Do not provide any explanation.\n\nArticle: {context}\n\n Answer the question based on the above article as "
        "concisely as you can, using a single phrase or sentence if possible. If the question cannot be answered "
        'based on the information in the article, write "unanswerable". If the question is a yes/no question, answer '
        '"yes", "no", or "unanswerable". Do not provide any explanation.\n\nQuestion: {input}\n\nAnswer:',
        description="What is asked, with {context} and {input}; the default is LongBench's own for Qasper",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_source(self.source, self.sha256, require_files)
        if not self.source.endswith((".jsonl", ".zip")):
            raise refuse(f"is '{self.source}', which is neither a .jsonl nor a .zip file: name one", "source")
        for part in ("{context}", "{input}"):
            if part not in self.prompt:
                raise refuse(f"has no {part}: it needs {{context}} and {{input}}", "prompt")
        return self


class Harness(Section):
    """Tasks of lm-evaluation-harness, which has to be installed."""

    tasks: Annotated[
        dict[str, str],
        Field(min_length=1, json_schema_extra={"propertyNames": {"pattern": f"^{NAME}$"}}),
        BeforeValidator(named),
    ] = Field(
        description="Each task by the harness's name, and which of its metrics counts, such as {lambada_openai: acc}"
    )
    limit: Count | None = Field(100, description="The first documents of each task, so many, or null for all")
    folder: str | None = Field(
        None, description="A folder of further tasks, YAML files as the harness takes them, or null"
    )


class Tasks(Section):
    """What the models are asked under the perturbations of tolerance; null leaves a task out (experiment: tasks)."""

    seed: Number = Field(0, description="The seed of the choice of sentences, keys and wrong answers")
    candidates: int = Field(10, ge=2, le=90_000, description="Answers that the model chooses from, one of them true")
    cloze: Cloze | None = Field(default_factory=Cloze)
    passkey: PasskeyTask | None = Field(default_factory=PasskeyTask)
    longbench: LongBench | None = None
    harness: Harness | None = None


class LMInfinite(Section):
    """The keys that LM-Infinite lets a query see."""

    n_global: Number = Field(10, description="The first keys of the text, so many, which every query sees")
    n_local: Number | None = Field(
        None, description="The last keys, so many, seen at their true distances; null is half the training length"
    )
    limit: Number | None = Field(
        None, description="The distance at which the first keys are seen from beyond the last ones; null is n_local"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_global == 0 and self.n_local == 0:
            raise refuse("is 0, as n_global is, so a query sees no key: raise one of them", "n_local")
        return self


class InfLLM(Section):
    """The keys that InfLLM lets a query see (inf_llm_published takes the same)."""

    block: Count = Field(128, description="Tokens in a block")
    n_init: Number = Field(128, description="The first keys of the text, so many, which every query sees")
    n_local: Count | None = Field(
        None, description="The last keys, so many, seen at their true distances; null is half the training length"
    )
    topk: Number = Field(16, description="Blocks that join, so many")
    repr_topk: Count = Field(4, description="Tokens of a block whose mean key stands for it; at most a block's")
    chunk: Count = Field(512, description="Queries that choose their blocks together")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.repr_topk > self.block:
            raise refuse(f"is {self.repr_topk}, more than the {self.block} tokens of a block: lower it", "repr_topk")
        return self


class PasskeyLengths(Section):
    """A number hidden in the text, which the model is asked for at its end."""

    lengths: Annotated[
        list[Annotated[int, Field(ge=64)]], AfterValidator(distinct), Field(json_schema_extra=UNIQUE)
    ] = Field([2048, 9216], description="Tokens in a prompt; an empty list leaves the passkeys out")
    depths: Depths = Field(
        [0.5], description="Where in the text the number is hidden, between 0, its start, and 1, its end"
    )
    trials: Count = Field(1, description="Prompts for each length and depth, with a number and a text of their own")


def _with_plain(values: list[str]) -> list[str]:
    if "plain" not in values:
        raise refuse("lacks plain, which the other methods are compared with: add it")
    return values


class Length(Section):
    """How the models are run past their training length (experiment: length)."""

    models: Annotated[list[str], AfterValidator(distinct), Field(min_length=1, json_schema_extra=UNIQUE)] | None = (
        Field(
            None,
            description="The measured models that are run, by name, random controls by theirs; null is all models as "
            "trained, of a series the last checkpoint",
        )
    )
    training_length: Annotated[int, Field(ge=16)] | None = Field(
        None,
        description="The length in tokens that counts as the training length; null is the model's own, as its "
        "configuration says",
    )
    lengths: Annotated[
        list[Annotated[int, Field(ge=16)]],
        AfterValidator(distinct),
        Field(min_length=1, json_schema_extra=UNIQUE),
    ] = Field(
        [2048, 8192, 9216],
        description="The lengths in tokens that the model is run at; one at least must lie within the training length",
    )
    sequences: Count = Field(
        5, description="How many sequences are read at each length, each of documents of its own; five give intervals"
    )
    methods: Annotated[
        list[MethodName],
        AfterValidator(distinct),
        AfterValidator(_with_plain),
        Field(json_schema_extra=UNIQUE | {"contains": {"const": "plain"}}),
    ] = Field(
        ["plain", "lm_infinite"],
        description="How the model attends; plain must be among them, as what the others are compared with",
    )
    positions: int = Field(
        256, ge=32, description="At how many positions of each length, over all sequences, attention outputs are kept"
    )
    bucket: Count = Field(
        512, description="Positions whose losses are averaged in one row, which ends where one of the lengths does, too"
    )
    seed: Number = Field(
        0,
        description="The seed of the documents' order, of the positions that are kept, of the keys that thinned keeps, "
        "and of the passkeys",
    )
    factor: Annotated[float, Field(ge=1)] | None = Field(
        None,
        description="By what yarn, linear and dynamic stretch RoPE; null is longest / training length",
    )
    lm_infinite: LMInfinite = Field(default_factory=LMInfinite)
    inf_llm: InfLLM = Field(default_factory=InfLLM)
    passkey: PasskeyLengths = Field(default_factory=PasskeyLengths)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """What depends on the training length, where it is given; the model's own is known to its job alone."""
        if self.training_length is None:
            return self
        if min(self.lengths) > self.training_length:
            raise refuse(
                f"holds none within length.training_length {self.training_length}: outputs within it are what the "
                "others are compared with; add one",
                "lengths",
            )
        for key, value in {
            "lm_infinite.n_local": self.lm_infinite.n_local,
            "lm_infinite.limit": self.lm_infinite.limit,
            "inf_llm.n_local": self.inf_llm.n_local,
        }.items():
            if (value or 0) > self.training_length:
                raise refuse(
                    f"is {value}, longer than length.training_length {self.training_length}: distances must stay in "
                    "the trained range; lower it",
                    key,
                )
        return self


class Config(Section):
    """Every key of a configuration, with its default. Sections may be left out; models and corpus may not."""

    models: Annotated[
        dict[str, Model],
        Field(min_length=1, json_schema_extra={"propertyNames": {"pattern": rf"^(?!.*{ENDS}){NAME}$"}}),
        BeforeValidator(named),
        AfterValidator(_own_names),
    ] = Field(description="The language models to measure, each under a name of your own")
    corpus: Corpus
    lock: str | None = Field(
        None,
        description="A file of pinned revisions for hub sources that name a branch (see results/sources.lock.json), "
        "or null",
    )
    experiments: Annotated[list[Experiment], AfterValidator(distinct), Field(json_schema_extra=UNIQUE)] = Field(
        ["mechanism", "heads"],
        description="What a run makes beside the fit; in the report, the database, the manifest and the summary alike",
    )
    also: Annotated[list[Experiment], BeforeValidator(_one_or_list), AfterValidator(distinct)] = Field(
        [],
        json_schema_extra=UNIQUE,
        description="Further experiments beside those of `experiments`, for the command line: `--config also=surgery`",
    )
    run: Run = Field(default_factory=Run)
    sequences: Sequences = Field(default_factory=Sequences)
    features: Features = Field(default_factory=Features)
    logits: Logits = Field(default_factory=Logits)
    fits: Fits = Field(default_factory=Fits)
    dummies: Dummies = Field(default_factory=Dummies)
    heads: Heads = Field(default_factory=Heads)
    explorer: Explorer = Field(default_factory=Explorer)
    surgery: Surgery = Field(default_factory=Surgery)
    tolerance: Tolerance = Field(default_factory=Tolerance)
    tasks: Tasks = Field(default_factory=Tasks)
    length: Length = Field(default_factory=Length)

    @field_validator("lock")
    @classmethod
    def _lock_is_there(cls, lock: str | None) -> str | None:
        if lock is not None and not Path(lock).is_file():
            raise refuse(f"is '{lock}', but there is no such file: name one, relative to where the run starts, or null")
        return lock

    @model_validator(mode="after")
    def _check_experiments(self) -> Self:
        """What is made of queries and keys before rotation needs a model that has them, and tasks need a task."""
        logits_alone = all(model.capture == "logits" for model in self.models.values())
        for key in ("experiments", "also"):
            asked = [name for name in getattr(self, key) if name not in ("mechanism", "heads")]
            if asked and logits_alone:
                raise refuse(
                    f"names {', '.join(asked)}, made of queries and keys before rotation, but every model has "
                    "capture: logits; take it out",
                    key,
                )
            if "training" in asked and not any(m.steps and m.capture == "features" for m in self.models.values()):
                raise refuse("names training, but no model is a series: give one of them steps, or take it out", key)
            if "tasks" in asked and not any(getattr(self.tasks, name) for name in TASKS):
                keys = ", ".join(f"tasks.{name}" for name in TASKS)
                raise refuse(f"names tasks, but {keys} are all null: give one of them", key)
        return self

    @model_validator(mode="after")
    def _check_length_models(self) -> Self:
        """Lengths are run on measured models whose queries and keys are had before rotation."""
        rotary = {name: model.model_dump() for name, model in self.models.items() if model.capture == "features"}
        measured = measured_models(rotary)
        for name in self.length.models or []:
            if name not in measured:
                raise refuse(
                    f"names '{name}', which is none of the measured models with queries and keys before rotation: "
                    f"{', '.join(measured)}; take it out",
                    "length.models",
                )
        return self

    @model_validator(mode="after")
    def _join_also(self) -> Self:
        """An experiment that the command line adds is one of the run's, in their order here."""
        asked = {*self.experiments, *self.also}
        self.experiments = [name for name in get_args(Experiment) if name in asked]
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        """A part is at most as large as its whole; a part that is null follows it."""
        count, shard, length = self.sequences.count, self.sequences.shard, self.sequences.length
        for prefix in self.fits.prefixes:
            if prefix > length:
                raise refuse(
                    f"holds {prefix}, more than sequences.length {length}: take it out, or raise sequences.length",
                    "fits.prefixes",
                )
        # The whole sequence is fitted anyway.
        self.fits.prefixes = [prefix for prefix in self.fits.prefixes if prefix < length]
        if self.heads.period is None:
            self.heads.period = min(64, length // 2)
        _follow("dummies", self.dummies, "distances", 128, {"sequences.length": length})
        _follow("explorer", self.explorer, "tokens", 256, {"sequences.length": length})
        _follow("tolerance", self.tolerance, "sequences", 4, {"sequences.count": count})
        shared = min(self.tolerance.sequences or 0, shard)
        _follow("tolerance", self.tolerance, "head_sequences", shared // 2, {})
        if self.tolerance.head_sequences and self.tolerance.head_sequences >= shared:
            raise refuse(
                f"is {self.tolerance.head_sequences}, and leaves none of the {shared} sequences of the first shard "
                "that are perturbed to predict from: lower it, or raise tolerance.sequences and sequences.shard",
                "tolerance.head_sequences",
            )
        # Surgery reads the first shard alone.
        _follow("surgery", self.surgery, "sequences", 8, {"sequences.count": count, "sequences.shard": shard})
        _follow("surgery", self.surgery, "step_sequences", 2, {"surgery.sequences": self.surgery.sequences or 0})
        return self


def _follow(name: str, section: Section, key: str, usual: int, wholes: dict[str, int]) -> None:
    """Set a null to `usual`, or to the least of `wholes` if that is less; refuse a number above one of them."""
    value = getattr(section, key)
    if value is None:
        setattr(section, key, min([usual, *wholes.values()]))
        return
    for whole, size in wholes.items():
        if value > size:
            raise refuse(f"is {value}, more than {whole} {size}: lower it, or raise {whole}", f"{name}.{key}")
