"""`elicit cache`: look into the store, check it, prune it, export it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elicit.cache.errors import InputError, StoreDamaged
from elicit.cache.explain import Explanation, describe, explain, stored_identity
from elicit.cache.export import export
from elicit.cache.findings import Findings
from elicit.cache.location import store_path
from elicit.cache.prune import prune
from elicit.cache.rescore import Drift, StoredPrompt, rescore_sample
from elicit.cache.store import ScoreStore
from elicit.cache.verify import verify

if TYPE_CHECKING:
    from elicit.providers.base import Provider

app = typer.Typer(
    help="Look into the store of scores, check, prune and export it.", add_completion=False
)

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", envvar="ELICIT_CACHE", help="The store; see `elicit cache path`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _open(path: Path | None) -> ScoreStore:
    """The store at `path`, which must be there: looking makes no file."""
    place = store_path(path)
    if not place.exists():
        raise InputError(
            f"{place}: no store here yet. A run makes one, or name another --cache."
        )
    return ScoreStore(place)


def _print(data: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(data))
        return
    width = max(map(len, data), default=0)
    for name, value in data.items():
        typer.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def _note(text: str) -> None:
    typer.echo(text, err=True)


@app.command("path")
def path_command(cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """Print where the store is, or will be."""
    place = str(store_path(cache))
    typer.echo(json.dumps({"path": place}) if as_json else place)


@app.command("stats")
def stats_command(cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """Count what the store holds; sizes are in bytes."""
    with _open(cache) as store:
        stats = store.stats()
    data = {k: v for k, v in asdict(stats).items() if not k.startswith("memory_")}
    per_score = stats.bytes_per_score
    _print(
        data | {"bytes_per_score": None if per_score is None else round(per_score, 1)}, as_json
    )


@app.command("explain")
def explain_command(
    *,
    context: Annotated[str | None, typer.Option(help="A context key, in hex.")] = None,
    item: Annotated[str | None, typer.Option(help="An item digest, in hex.")] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(
            help="A prompt: a JSON list of its texts, or of pairs of role and text in a chat; "
            "or text to be split."
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Verbalisers, with commas: A,B")] = None,
    model_like: Annotated[
        str, typer.Option(help="A part of the stored identity of one model.")
    ] = "",
    separator: Annotated[
        str, typer.Option(help="Ends each demonstration of a text prompt.")
    ] = "\n\n",
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is stored under a key, or why a prompt hits or misses."""
    with _open(cache) as store:
        if context is not None:
            _print(describe(store, context, item), as_json)
            return
        if prompt_file is None or labels is None:
            raise InputError("give --context HEX, or --prompt-file FILE with --labels A,B")
        identity = stored_identity(store, model_like)
        segments = _segments(prompt_file, separator)
        answer = explain(store, identity, labels.split(","), segments)
    if as_json:
        typer.echo(json.dumps(_finite(asdict(answer))))
    else:
        _tell(answer)


def _finite(data: Mapping[str, Any]) -> dict[str, Any]:
    """Minus infinity, which JSON lacks, as the string "-inf"."""
    score = data["score"]
    if score is None:
        return dict(data)
    values = ["-inf" if v == float("-inf") else v for v in score["values"]]
    return {**data, "score": {**score, "values": values}}


def _tell(answer: Explanation) -> None:
    typer.echo("hit" if answer.hit else "miss")
    if answer.score is not None:
        typer.echo(f"log-probabilities  {', '.join(map(str, answer.score.values))}")
    for line in answer.differences:
        typer.echo(line)


def _segments(path: Path, separator: str) -> list[tuple[str, str]]:
    """`(text, role)` of a prompt in a file: JSON of texts, or of `[role, text]` in a chat;
    any other file is plain text, split after each separator."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't read the prompt: {error}") from error
    if path.suffix == ".json":
        try:
            segments = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        if not isinstance(segments, list):
            raise InputError(f"{path}: must be a JSON list, the item last")
        if not segments:
            raise InputError(f"{path}: an empty list; the last text is the item")
        return [_segment(path, segment) for segment in segments]
    if not separator:
        return [(text, "")]
    *demonstrations, last = text.split(separator)
    return [(shown + separator, "") for shown in demonstrations] + [(last, "")]


def _segment(path: Path, segment: object) -> tuple[str, str]:
    match segment:
        case str():
            return segment, ""
        case [str(role), str(text)]:
            return text, role
    raise InputError(f'{path}: must be a list of texts, or of ["user", "text"] in a chat')


@app.command("verify")
def verify_command(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Remove unsound rows.")] = False,
    rescore: Annotated[
        int, typer.Option(min=0, help="Ask the model for so many scores again.")
    ] = 0,
    model: Annotated[str | None, typer.Option(help="The model, for --rescore.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the sample of --rescore.")] = 0,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every digest and checksum; exit 2 if damage is left."""
    if rescore and model is None:
        raise InputError("--rescore needs --model: the model whose scores are asked again")
    with _open(cache) as store:
        problems = verify(store, repair=repair)
        drift = _rescored(store, model, rescore, seed) if rescore and model else None
        place = store.path
    left = sum(not problem.removed for problem in problems)
    if as_json:
        found = [asdict(problem) for problem in problems]
        typer.echo(
            json.dumps({"problems": found, "left": left, "drift": drift and asdict(drift)})
        )
    else:
        for problem in problems:
            done = "removed: " if problem.removed else ""
            typer.echo(f"{done}{problem.table} {problem.row}: {problem.what}")
        typer.echo(f"{len(problems)} problems, {left} left")
        if drift is not None:
            typer.echo(f"rescored {drift.n}: max {drift.max:.3g}, mean {drift.mean:.3g} nats")
    if left:
        mend = "" if repair else " `elicit cache verify --repair` removes what can't be used."
        raise StoreDamaged(f"{place}: {left} problems left.{mend}")


def _rescored(store: ScoreStore, model: str, n: int, seed: int) -> Drift:
    from elicit.providers.registry import open_model

    provider = open_model(model, Findings(store))
    try:
        identity = provider.identity.as_dict()
        drift = rescore_sample(store, partial(_ask, provider), n, seed, identity=identity)
    finally:
        provider.close()
    if drift.n < n:
        _note(f"only {drift.n} scores of this model have their whole prompt in the store")
    return drift


def _ask(provider: Provider, prompts: Sequence[StoredPrompt]) -> list[tuple[float, ...]]:
    """Ask a provider, past the store."""
    from elicit.providers.base import ScoreRequest, Segment, as_role

    requests = [
        ScoreRequest(
            tuple(Segment.of(text, as_role(role)) for text, role in prompt.segments),
            prompt.labels,
        )
        for prompt in prompts
    ]
    answers: dict[int, tuple[float, ...]] = {}
    for unit in provider.score(requests):
        answers |= {i: scores.log_probs for i, scores in unit.scores}
    return [answers[i] for i in range(len(requests))]


@app.command("prune")
def prune_command(
    *,
    run: Annotated[str | None, typer.Option(help="Remove this run; scores stay.")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Scores and runs older than so many days.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Scores of models whose identity contains this.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only count.")] = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove runs or scores for good, their text as well. Without --yes, only count."""
    with _open(cache) as store:
        pruned = prune(store, run=run, older_than_days=older_than, model=model, dry_run=not yes)
    _print(asdict(pruned), as_json)
    if not yes:
        _note("Nothing was removed. Add --yes to do it.")


@app.command("export")
def export_command(
    out: Annotated[Path | None, typer.Option(help="A file to write; else stdout.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Only models whose identity contains this.")
    ] = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all scores as JSON Lines. With --out and --json, print a summary as JSON."""
    with _open(cache) as store:
        if out is None:
            count = export(store, sys.stdout, model=model)
        else:
            try:
                with out.open("x", encoding="utf-8") as file:
                    count = export(store, file, model=model)
            except OSError as error:
                raise InputError(f"{out}: can't write: {error.strerror}") from error
    if as_json and out is not None:
        typer.echo(json.dumps({"scores": count, "path": str(out)}))
    else:
        _note(f"{count} scores")
