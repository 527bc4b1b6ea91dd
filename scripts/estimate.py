"""Say what a configuration's run would take: jobs, rows, bytes and hours by stage, from each model's config.json alone.

    python scripts/estimate.py CONFIG            a table; no weight is loaded, or fetched from a hub
    python scripts/estimate.py --rates FILE      write the rates of the run that is finished here over those kept

Jobs are those of a dry run. Rates are those of the run in results/ and logs/, where one is finished, and else those of
benchmarks/rates.json. No rule.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import CONFIG_MAPPING, AutoConfig

from triaxis.base.checkpoints import TRAIN, with_weights
from triaxis.base.config import resolve
from triaxis.base.errors import UserError
from triaxis.base.names import entry_of
from triaxis.base.source_text import parse_source
from triaxis.model.published import read_config
from triaxis.report import estimate
from triaxis.text.sources import fetch_model_files

PROJECT = Path(__file__).resolve().parents[1]
RATES = PROJECT / "benchmarks/rates.json"


def read(file: str) -> dict[str, Any]:
    """A configuration over the default one, as a run takes it."""
    try:
        given, default = (yaml.safe_load(Path(own).read_text()) for own in (file, PROJECT / "config.yaml"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"CONFIG={file} cannot be read: {error}") from None
    config = default | {key: given[key] for key in ("models", "corpus") if key in given}
    for key, own in given.items():
        if key not in ("models", "corpus"):
            config[key] = {**config.get(key, {}), **own} if isinstance(own, dict) else own
    return resolve(config)


def model_config(name: str, entry: dict[str, Any]) -> Any:
    """The configuration of one entry's first model: of a hub its config.json alone, of a GGUF file its header's."""
    if entry["source"] == TRAIN:
        own = dict(entry["training"]["architecture"])
        vocabulary = entry["training"]["vocabulary"] or 257
        return CONFIG_MAPPING[own.pop("model_type")](**own | {"vocab_size": vocabulary})
    base, first = next(iter(with_weights({name: entry}).items()))
    if Path(f"resources/models/{base}/config.json").is_file():
        return read_config(f"resources/models/{base}")
    listed = [first["source"]] if isinstance(first["source"], str) else first["source"]
    source = parse_source(listed[0])
    with TemporaryDirectory() as folder:
        if source.kind == "hub":
            try:
                file = hf_hub_download(source.name, "config.json", revision=source.revision, local_dir=folder)
            except (HfHubHTTPError, LocalEntryNotFoundError) as error:
                raise UserError(f"models.{name}: config.json of {source.text} cannot be had: {error}") from None
            return read_config(Path(file).parent)
        if source.kind == "path" and Path(source.path).is_dir():
            return read_config(source.path)
        record = fetch_model_files([parse_source(text) for text in listed], first["sha256"], None, folder)
        return AutoConfig.from_pretrained(record["folder"], gguf_file=sorted(record["files"])[0])


def sizes_of(config: dict[str, Any]) -> dict[str, estimate.Size]:
    """The size of every measured model."""
    own = {name: estimate.size_of(model_config(name, entry)) for name, entry in config["models"].items()}
    return estimate.measured_sizes(config, own)


def planned(file: str) -> dict[str, int]:
    """Rule -> jobs of a whole run, as Snakemake's dry run counts them."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--configfile", file]
    command += ["--dry-run", "--quiet", "rules", "--forceall"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = (run.stderr + run.stdout).splitlines()
        raise UserError(next((line.removeprefix("ERROR: ") for line in lines if "ERROR" in line), "\n".join(lines)))
    rows = [line.split() for line in run.stdout.partition("Job stats:")[2].partition("\ntotal ")[0].splitlines()]
    jobs = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return {rule: count for rule, count in jobs.items() if rule != "all"}


def finished_rates() -> dict[str, float]:
    """The rates of the run that is finished in this folder; none if there is none."""
    if not Path("results/manifest.json").is_file():
        return {}
    config = json.loads(Path("results/manifest.json").read_text())["config"]
    seconds = defaultdict(list)
    for file in Path("logs").rglob("*.tsv"):
        rule = Path(*file.relative_to("logs").parts[:1]).stem
        seconds[rule].append(float(file.read_text().splitlines()[-1].split("\t")[0]))
    return estimate.rates_of(seconds, config, sizes_of(config))


def table(file: str) -> str:
    """The estimate of a configuration, a line for each rule that writes a stage or takes time by its work."""
    config = read(file)
    sizes, jobs = sizes_of(config), planned(file)
    here, kept = finished_rates(), json.loads(RATES.read_text())
    rates, total = kept["seconds"] | here, estimate.total_work(config, sizes)
    rows, size = defaultdict(int), defaultdict(float)
    for model in sizes:
        alone = config["models"][entry_of(model)]["capture"] == "logits"
        for stage, (own, taken) in estimate.stages_of(config, sizes[model], alone).items():
            rule = estimate.WRITERS[stage]
            rule = next((other for other in OTHERS.get(rule, ()) if rule not in jobs and other in jobs), rule)
            rows[rule] += own
            size[rule] += taken
    lines = [f"{'stage, by its rule':24}{'jobs':>8}{'rows':>16}{'MB':>12}{'hours':>10}"]
    spent = {rule: estimate.seconds_of(rule, count, total, rates) for rule, count in jobs.items()}
    shown = [rule for rule in jobs if rule in rows or rule in total]
    for rule in [*sorted(shown, key=lambda rule: -(spent[rule] or 0)), ""]:
        own = [rule] if rule else [other for other in jobs if other not in shown]
        hours = sum(spent[other] or 0 for other in own) / 3600
        counted = [f"{rows[rule]:,}", f"{size[rule] / 1e6:,.1f}"] if rule in rows else ["-", "-"]
        count = sum(jobs[other] for other in own)
        lines.append(f"{rule or 'all others':24}{count:>8,}{counted[0]:>16}{counted[1]:>12}{hours:>10.3f}")
    hours = sum(own or 0 for own in spent.values()) / 3600
    all_rows, all_bytes = sum(rows.values()), sum(size.values()) / 1e6
    lines.append(f"{'together':24}{sum(jobs.values()):>8,}{all_rows:>16,}{all_bytes:>12,.1f}{hours:>10.3f}")
    unknown = sorted(rule for rule in shown if spent[rule] is None)
    lines += [f"Nothing is known of the time of {', '.join(unknown)}: it is not counted."] if unknown else []
    whose = "the run that is finished here" if here else f"benchmarks/rates.json ({kept['machine']})"
    return "\n".join([*lines, f"Hours are those of one job after another, at the rates of {whose}."])


# A rule that writes the same stages in another way.
OTHERS = {
    "dump_logits": ["capture_logits"],
    "sum_logits": ["sum_captured"],
    "fit_axes": ["fit_features"],
}

try:
    if sys.argv[1] == "--rates":
        sys.path.insert(0, str(PROJECT))
        from benchmarks.__main__ import machine

        rates = {rule: float(f"{rate:.3g}") for rule, rate in sorted(finished_rates().items())}
        written = {"machine": machine(), "seconds": json.loads(RATES.read_text())["seconds"] | rates}
        Path(sys.argv[2]).write_text(json.dumps(written, indent=1) + "\n")
    else:
        print(table(sys.argv[1]))
except UserError as error:
    sys.exit(f"ERROR: {error}")
