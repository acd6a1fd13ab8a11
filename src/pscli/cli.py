"""The command line: thin commands over the modules that do the work."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pscli import __version__, console
from pscli.config import Config, changed
from pscli.errors import CheckpointError, ConfigError, PscliError
from pscli.registry import check, find

if TYPE_CHECKING:
    from pscli.evaluation.score import Scores

RUN_CONFIG = "config.json"


class Commands(TyperGroup):
    """Expected failures are told without a traceback and exit with 2, Ctrl-C exits with 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            console.note("Interrupted.")
            raise typer.Exit(130) from error
        except BrokenPipeError:
            raise  # whoever read our results has seen enough; Typer closes the stream
        except (PscliError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            console.show_error(error if isinstance(error, PscliError) else _told(error))
            raise typer.Exit(2) from error


def _told(error: OSError) -> PscliError:
    """A full disk, a folder that may not be written, and the like."""
    where = f"{error.filename}: " if error.filename else ""
    return PscliError(f"{where}{error.strerror or error}.")


app = typer.Typer(
    cls=Commands,
    name="pscli",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The `pscli` program."""
    app(prog_name="pscli")


def _version(wanted: bool) -> None:
    if wanted:
        console.result(f"pscli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Photo-sharing dialogue, end to end: train agents that see and send photos, and score them.

    Results go to stdout, progress to stderr.
    """


# ---------------------------------------------------------------------------- data

Name = Annotated[str, typer.Argument(metavar="NAME", help="Dataset, such as photoworld.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fetch(
    name: Name,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this split; repeatable.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Folder to write.", show_default="$PSCLI_DATA/NAME or data/NAME"
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FROM",
            help="Folder or http(s) mirror to bring it from.",
            show_default="upstream",
        ),
    ] = None,
    photos: Annotated[bool, typer.Option("--photos/--no-photos", help="Bring photos, too.")] = True,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Downloads at once.")] = 16,
    missing: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="For photos that nobody has: skip, placeholder or synthesise."
        ),
    ] = "skip",
    retry: Annotated[
        bool, typer.Option("--retry", help="Ask again for photos that did not come before.")
    ] = False,
    private: Annotated[
        bool,
        typer.Option("--allow-private-hosts", help="Also from private and loopback addresses."),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Dialogues of each split.", show_default="all"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Bring a dataset to disk: dialogues, then photos, and a manifest that says what is missing.

    An interrupted fetch goes on when the same command is given again.
    """
    from pscli.data.bring import MISSING, Options
    from pscli.data.fetch import fetch as fetch_dataset
    from pscli.data.sources.corpus import Corpus
    from pscli.data.store import data_folder
    from pscli.data.web import Limits

    source = find("dataset", name)()
    if missing not in MISSING:
        raise ConfigError(f"--missing is '{missing}'.", f"Known: {', '.join(MISSING)}.")
    folder = out or data_folder(name)
    splits = list(dict.fromkeys(split or source.splits))
    if isinstance(source, Corpus):
        options = Options(
            origin, photos, missing, count, retry, overwrite, private, Limits(jobs=jobs)
        )
        _bring(source, folder, splits, options)
        return
    if origin is not None:
        raise ConfigError(f"{name} is drawn, not downloaded.", "Leave --from out.")
    fetched = fetch_dataset(
        source, folder, splits, console.progress, count=count, overwrite=overwrite
    )
    for one, dialogues in fetched.dialogues.items():
        number = fetched.photos[one]
        console.result(f"{folder / one}.jsonl: {dialogues:,} dialogues, {number:,} photos")
    console.result(f"Licence of {name}: {source.licence}.")


def _bring(source: Any, folder: Path, splits: list[str], options: Any) -> None:
    from dataclasses import replace

    from pscli.data.bring import bring, names

    if options.missing == "synthesise":
        options = replace(options, draw=_brush(), model="photoworld")
    try:
        brought = bring(source, folder, splits, console.progress, options)
    except KeyboardInterrupt:
        console.note("Stopped. Give the same command again to go on.")
        raise
    if brought.first:
        console.result(f"Licence of {source.name}: {source.licence}.")
        console.result(f"Cite: {source.citation}")
    console.result(f"{folder}: {brought.files:,} files of dialogues")
    if brought.statuses:
        console.result(f"photos: {', '.join(names(brought.statuses))}")
    for reason, number in list(brought.reasons.items())[:10]:
        console.result(f"  {number:,} × {reason}")
    if brought.reasons:
        console.result("Missing photos are in manifest.jsonl; --retry asks for them again.")


def _brush() -> Any:
    """Draws a photo from a caption and a seed, with the bundled generator."""
    console.quiet_libraries()
    import torch

    from pscli.model.agent import SHIPPED
    from pscli.model.agent import source as located
    from pscli.model.generator import Generator

    generator = Generator.from_pretrained(located(SHIPPED, "generator"))
    generator.eval()

    def draw(caption: str, seed: int) -> Any:
        return generator.draw([caption], [torch.Generator().manual_seed(seed)])[0]

    return draw


@app.command()
def stats(
    name: Name,
    as_json: AsJson = False,
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Count a folder.", show_default="$PSCLI_DATA/NAME, data/NAME"),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="PNG file to draw as well.", show_default=False)
    ] = None,
) -> None:
    """Count dialogues, utterances, photos and instance types of a dataset, split by split."""
    from pscli.data.sources.corpus import Corpus
    from pscli.data.sources.records import Dropped
    from pscli.data.stats import PAPER, picture, survey, table, table_1
    from pscli.data.store import data_folder, read_split, splits_in

    if png is not None and png.suffix.lower() != ".png":
        raise ConfigError(f"{png} is no name for a picture.", "Expected a name that ends in .png.")
    source = find("dataset", name)()
    dropped = Dropped()
    if isinstance(source, Corpus):
        place = folder or data_folder(name)
        splits = {split: source.read(split, place, dropped) for split in source.splits_in(place)}
    elif folder:
        splits = {split: iter(read_split(folder, split)) for split in splits_in(folder)}
    else:
        splits = {split: iter(source.load(split)) for split in source.splits}
    found = survey(name, splits, dropped)
    if png is not None:
        picture(found, png)
    for line in dropped.lines():
        console.note(f"Left out: {line}.")
    if as_json:
        console.show_json(found.to_json())
        return
    console.show(table(name, found.splits | {"total": found.total}))
    console.show(table_1(found))
    console.result(PAPER)
    if any(found.shared.values()):
        shared = (f"{n:,} by {a} and {b}" for (a, b), n in found.shared.items())
        console.result(f"Photos shared: {', '.join(shared)}.")


# ---------------------------------------------------------------------------- training

Dataset = Annotated[str | None, typer.Option(help="What to train on.", show_default="photoworld")]
Preset = Annotated[
    str | None, typer.Option(help="Configuration: demo, tiny or paper.", show_default="tiny")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of all noise.", show_default="0")]
Run = Annotated[
    Path | None, typer.Option(help="Folder of the run.", show_default="runs/SYSTEM-DATE-TIME")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run where it stopped.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="Any setting, such as train.lr=1e-4; repeatable."),
]


@app.command("train-e2e")
def train_e2e(
    dataset: Dataset = None,
    preset: Preset = None,
    perceptron: Annotated[
        str | None,
        typer.Option(help="How photos are seen: qformer or linear.", show_default="qformer"),
    ] = None,
    bridge: Annotated[
        str | None,
        typer.Option(
            help="How L^v reaches the LLM: dvtm, dvtm-word, vtm, soft, none …", show_default="dvtm"
        ),
    ] = None,
    seed: Seed = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Set = None,
) -> None:
    """Train the end-to-end system: perceptron, LLM and generator, by one loss."""
    named = {"model.perceptron": perceptron, "model.bridge": bridge}
    _train(
        "e2e", preset, {"dataset": dataset, "seed": seed, **named}, settings, run, resume, overwrite
    )


@app.command("train-pipeline")
def train_pipeline(
    dataset: Dataset = None,
    preset: Preset = None,
    seed: Seed = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Set = None,
) -> None:
    """Train the pipeline that the paper compares with: its parts learn apart."""
    named = {"dataset": dataset, "seed": seed}
    _train("pipeline", preset, named, settings, run, resume, overwrite)


def _train(
    system: str,
    preset: str | None,
    named: dict[str, Any],
    settings: list[str] | None,
    run: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other.", "Give one of them.")
    wanted = {name: value for name, value in named.items() if value is not None}
    wanted |= dict(map(_setting, settings or []))
    if resume:
        config = _resumed(system, run, wanted | ({"preset": preset} if preset else {}))
    else:
        config = _checked(system, find("preset", preset or "tiny")(system), wanted)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and run is None:
        raise ConfigError("Several processes need one name for their run.", "Name it: --run.")
    run = run or Path("runs") / f"{system}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not resume and os.environ.get("RANK", "0") == "0":
        _open_run(run, config, overwrite)
    console.quiet_libraries()
    from pscli.experiment import run_training

    run_training(config, run, resume=resume)
    console.result(str(run / "agent"))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {text} has no value.", "Write --set train.lr=1e-4, for example.")
    return name.strip(), value.strip()


def _checked(system: str, config: Config, wanted: dict[str, Any]) -> Config:
    for name, value in wanted.items():
        config = changed(config, name, value)
    if config.system != system:
        raise ConfigError(f"This command trains '{system}', not '{config.system}'.")
    check("dataset", config.dataset)
    check("perceptron", config.model.perceptron)
    check("bridge", config.model.bridge)
    return config


def _resumed(system: str, run: Path | None, wanted: dict[str, Any]) -> Config:
    if run is None:
        raise ConfigError("--resume goes on with a run.", "Name it: --run runs/NAME.")
    try:
        then = Config.from_json(json.loads((run / RUN_CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{run} cannot be resumed: its {RUN_CONFIG} cannot be read.",
            "Name a run that was started before, or start one without --resume.",
        ) from error
    if then.system != system:
        raise CheckpointError(f"{run} trains '{then.system}'.", f"Use `pscli train-{then.system}`.")
    for name, value in wanted.items():
        if changed(then, name, value) != then:
            raise CheckpointError(
                f"{run} was started with another {name} than {value}.",
                "Leave the option out to go on with the run, or start a new one.",
            )
    return then


def _open_run(run: Path, config: Config, overwrite: bool) -> None:
    from pscli.data.store import claim

    try:
        claim(run, RUN_CONFIG, overwrite)
    except CheckpointError as error:
        going_on = " Go on with it: --resume." if (run / RUN_CONFIG).is_file() else ""
        raise CheckpointError(error.message, error.hint + going_on) from None
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    (run / RUN_CONFIG).write_text(json.dumps(config.to_json(), indent=1), encoding="utf-8")


# ---------------------------------------------------------------------------- generating


@app.command()
def generate(
    context: Annotated[
        Path | None, typer.Option(help="Answer the dialogue in this JSON file.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Answer a split of this dataset.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    agent: Annotated[
        Path | None, typer.Option(help="Folder of an agent or run.", show_default="the bundled one")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write.", show_default="replies, or preds/AGENT"),
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(help="Who replies (--context).", show_default="who did not speak last"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Dialogues (--dataset).", show_default="all")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Instances at once (--dataset).")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the photos, and of sampling.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Of sampling; 0 takes the likeliest token.")
    ] = 0.0,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (--context).")] = False,
) -> None:
    """Let an agent reply: to one dialogue, or to every instance of a split.

    An interrupted split goes on when the same command is given again.
    """
    if (context is None) == (dataset is None):
        raise typer.BadParameter("give either --context FILE or --dataset NAME.")
    console.quiet_libraries()
    if context is not None:
        _reply(context, agent, out or Path("replies"), speaker, seed, temperature, as_json)
    elif dataset is not None:
        source = find("dataset", dataset)()
        _predict(source, split, agent, out, count, batch, seed, temperature, overwrite)


def _agent(folder: Path | None) -> Any:
    from pscli.model.agent import Agent

    if folder is None:
        console.note("Using the bundled agent; --agent names another.")
    return Agent.from_pretrained(folder)


def _reply(
    context: Path,
    agent: Path | None,
    out: Path,
    speaker: str | None,
    seed: int,
    temperature: float,
    as_json: bool,
) -> None:
    from pscli.data.schema import Photo
    from pscli.generate import read_dialogue, save_photos

    dialogue = read_dialogue(context)
    reply = _agent(agent).respond(dialogue, speaker, seed=seed, temperature=temperature)
    files = save_photos(reply, out)
    if as_json:
        pairs = {"text": reply.text, "captions": reply.captions, "photos": list(map(str, files))}
        console.show_json(pairs | {"raw": reply.raw, "notes": list(reply.notes)})
        return
    left = iter(files)
    for part in reply.parts:
        if isinstance(part, Photo):
            console.result(f"[photo] {part.caption} → {next(left)}")
            if console.stdout.is_terminal:
                console.show(console.half_blocks(part.open(), min(64, console.stdout.width)))
        else:
            console.result(part)
    if not reply.parts:
        console.note("The agent has nothing to say.")
    for note in reply.notes:
        console.note(f"Note: {note}")


def _predict(
    source: Any,
    split: str,
    agent: Path | None,
    out: Path | None,
    count: int | None,
    batch: int,
    seed: int,
    temperature: float,
    overwrite: bool,
) -> None:
    from pscli.data.fetch import check_split
    from pscli.generate import Settings, fingerprint, instances, open_predictions, predict
    from pscli.model.agent import BUNDLED

    check_split(source, split)
    loaded = _agent(agent)
    settings = Settings(
        agent=str(agent) if agent else "bundled",
        weights=fingerprint(
            agent / "agent" if agent and (agent / "agent").is_dir() else agent or BUNDLED
        ),
        dataset=source.name,
        split=split,
        seed=seed,
        temperature=temperature,
    )
    named = agent.parent if agent and agent.name == "agent" else agent
    out = out or Path("preds") / (named.resolve().name if named else "bundled")
    done = open_predictions(out, settings, overwrite)
    if done:
        console.note(f"Going on with {out}: {len(done):,} instances are there already.")
    work = instances(source.load(split, count))
    try:
        with console.progress("Replying", len(work)) as advance:
            predict(
                loaded, work, out, done, advance, size=batch, seed=seed, temperature=temperature
            )
    except KeyboardInterrupt:
        console.note("Stopped. Give the same command again to go on.")
        raise
    console.result(f"{out}: {len(work):,} instances")


# ---------------------------------------------------------------------------- scoring


@app.command()
def score(
    preds: Annotated[
        list[Path] | None, typer.Argument(metavar="PREDS...", help="Folders of predictions.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PREDS,PREDS,...",
            help="Several seeds of a system: one column, mean ± standard deviation; repeatable.",
        ),
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="What sees the photos for IS and FID: photoworld or inception.")
    ] = "photoworld",
    by_kind: Annotated[
        bool, typer.Option("--by-kind/--no-by-kind", help="Score instance types apart, too.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Score predictions, side by side, and keep the figures as scores.json in each folder."""
    check("extractor", extractor)
    groups = dict(map(_group, group or []))
    folders = list(dict.fromkeys([*(preds or []), *(f for some in groups.values() for f in some)]))
    if not folders:
        raise typer.BadParameter("name at least one folder of predictions, or a --group.")
    console.quiet_libraries()
    from pscli.evaluation.group import grouped
    from pscli.evaluation.predictions import read_predictions
    from pscli.evaluation.score import score_folder, table

    for folder in folders:
        read_predictions(folder)  # a broken last folder is refused before the first is scored
    scores: dict[Path, Scores] = {}
    with console.progress("Scoring", len(folders)) as advance:
        for folder in folders:
            scores[folder] = score_folder(folder, extractor, by_kind)
            _keep(folder / "scores.json", scores[folder].to_json())
            advance(1)
    systems = [(str(folder), scores[folder]) for folder in dict.fromkeys(preds or [])]
    means = [(name, grouped([scores[f] for f in some])) for name, some in groups.items()]
    if as_json:
        pairs = {key: {name: s.to_json() for name, s in some} for key, some in
                 (("systems", systems), ("groups", means))}  # fmt: skip
        console.show_json(pairs)
    else:
        console.show(table(systems + means))


def _group(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    paths = [Path(folder) for folder in folders.split(",") if folder]
    if not name or not paths:
        raise ConfigError(f"--group {text} names no folders.", "Write --group e2e=preds/a,preds/b.")
    return name, paths


def _keep(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="PREDS... | RUN", help="Predictions, or one run.")
    ],
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="Conversations, each of a dialogue.")] = 4,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only instances of this type; repeatable.", show_default="all in turn"),
    ] = None,
) -> None:
    """Draw conversations of several systems side by side, or the curves of a run."""
    from pscli.sheet import curves, sheet

    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out} is no name for a picture.", "Expected a name that ends in .png.")
    runs = [folder for folder in folders if (folder / "metrics.jsonl").is_file()]
    if runs and len(folders) > 1:
        raise ConfigError(f"{runs[0]} is a run, which is drawn alone.", "Name predictions only.")
    out.parent.mkdir(parents=True, exist_ok=True)
    if runs:
        curves(runs[0], out)
    else:
        sheet(folders, count, kind or []).save(out, "PNG")
    console.result(str(out))


# ---------------------------------------------------------------------------- foundations


@app.command()
def foundations(
    work: Annotated[
        Path, typer.Option(help="Folder for what is unfinished; it is resumed.")
    ] = Path("runs/foundations"),
    out: Annotated[
        Path | None, typer.Option(help="Folder to write.", show_default="the package's own")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="STAGE", help="A single stage.", show_default="all")
    ] = None,
) -> None:
    """Pre-train photoworld's foundations again: eyes, tongue and brush, in hours."""
    console.quiet_libraries()
    from pscli.foundations import WEIGHTS
    from pscli.foundations.build import build_all

    build_all(work, out or WEIGHTS, only)
