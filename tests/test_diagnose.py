"""What a diagnosis reads from chains, and what it says of tasks whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from elicit.association import Association
from elicit.cache.errors import InputError
from elicit.cli.diagnose import diagnose as command
from elicit.cli.diagnose import facts
from elicit.cli.tasks import open_task
from elicit.constraints import Constraint
from elicit.diagnose import Diagnosis, diagnose
from elicit.made_up_labels import reordered
from elicit.outcome import Chain
from elicit.providers.usage import BudgetReached, Limits
from elicit.salience import (
    Comparison,
    Evidence,
    chain_facts,
    chosen_chain,
    information,
    settled,
)
from elicit.scorer import FloatArray, IntArray
from elicit.settings import RunSettings
from elicit.surface_labels import tied
from elicit.task import Task
from elicit.verdict import findings, told_verdict, verdict

N = 80
HALF = np.arange(N) % 2
OTHER_HALF = np.arange(N) // 2 % 2
NONE = np.zeros(N, np.int64)
BOOTSTRAP = RunSettings(method="bootstrap", seed=3)


def predicted(labels: IntArray, sure: float, n_labels: int = 2) -> FloatArray:
    """Log-probabilities under which each of the labels has the probability `sure`."""
    rows = np.full((labels.size, n_labels), np.log((1 - sure) / (n_labels - 1)))
    rows[np.arange(labels.size), labels] = np.log(sure)
    return rows


def chain(
    labels: IntArray, sure: float = 0.95, objective: float = -3.0, n_labels: int = 2
) -> Chain:
    log_probs = predicted(labels, sure, n_labels)
    odds = np.full(labels.size, np.log(sure / (1 - sure)))
    return Chain(labels, odds, objective, 0, log_probs)


def evidence(*chains: Chain, names: tuple[str, ...] = ("no", "yes")) -> Evidence:
    found = chosen_chain(chains, len(names))
    facts = chain_facts(chains, len(names), found)
    return Evidence(
        label_names=names,
        chains=facts,
        found=found,
        agreement=0.5,
        agreement_up_to_names=0.9,
        adjusted_rand=0.8,
        objective=-3.0,
        predictability=-0.1,
        comparisons=(Comparison("permuted", -35.0, (-0.7, -0.71, -0.69)),),
        surface=(),
        mean_coverage=0.9,
    )


def codes(e: Evidence, kind: str = "warning") -> set[str]:
    return {finding.code for finding in findings(e) if finding.kind == kind}


@given(st.lists(st.integers(0, 2), min_size=1, max_size=50))
def test_labels_predicted_by_their_shares_alone_carry_no_information(given: list[int]) -> None:
    labels = np.array(given)
    shares = np.bincount(labels, minlength=3) / labels.size
    rows = np.tile(np.log(np.maximum(shares, 1e-12)), (labels.size, 1))
    assert information(labels, rows, 3).total == pytest.approx(0, abs=1e-9)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=50), st.permutations(range(3)))
def test_information_does_not_depend_on_names(given: list[int], names: list[int]) -> None:
    labels = np.array(given)
    rows = np.log(np.random.default_rng(0).dirichlet(np.ones(3), labels.size))
    renamed = np.array(names)[labels]
    columns = np.empty_like(rows)
    columns[:, names] = rows
    ours, theirs = information(labels, rows, 3), information(renamed, columns, 3)
    assert ours.total == pytest.approx(theirs.total)


def test_one_label_is_easiest_to_predict_and_carries_no_information() -> None:
    told = information(NONE, predicted(NONE, 0.999), 2)
    assert told.predictability > information(HALF, predicted(HALF, 0.95), 2).predictability
    assert (told.relative, told.convincing) == (0.0, False)


def test_sure_and_right_is_all_of_the_entropy() -> None:
    assert information(HALF, predicted(HALF, 1 - 1e-9), 2).relative == pytest.approx(1)


def test_chains_that_find_the_same_split_under_any_names_are_salient() -> None:
    e = evidence(chain(HALF), chain(HALF), chain(1 - HALF))
    assert verdict(e) == "salient"
    assert not codes(e)
    assert "names-swapped" in codes(e, "note")


def test_collapsed_chains_agree_wholly_and_are_not_salient() -> None:
    e = evidence(*[chain(NONE, 0.999, -0.1)] * 4)
    assert verdict(e) == "not salient"
    assert codes(e) == {"collapsed"}


def test_one_label_with_a_few_exceptions_found_again_is_not_salient() -> None:
    few = NONE.copy()
    few[:5] = 1
    e = evidence(chain(few, 0.85), chain(few, 0.85), chain(NONE, 0.999), chain(NONE, 0.999))
    assert 0 < e.reported.information.total < 9
    assert verdict(e) == "not salient"
    assert "collapsed" in codes(e)


def test_a_chain_that_collapsed_does_not_hide_what_others_found() -> None:
    e = evidence(chain(NONE, 0.999, -0.1), chain(HALF), chain(HALF))
    assert verdict(e) == "salient"
    assert codes(e, "note") == {"one-label-scores-higher"}


def test_labels_that_the_model_contradicts_are_not_salient() -> None:
    e = evidence(chain(HALF, 0.3), chain(OTHER_HALF, 0.3))
    assert verdict(e) == "not salient"
    assert "unpredictable" in codes(e)


def test_a_split_that_no_other_chain_finds_is_doubtful() -> None:
    e = evidence(chain(HALF), chain(OTHER_HALF, 0.9))
    assert verdict(e) == "doubtful"
    assert codes(e) == {"chains-disagree"}


def test_a_split_hardly_better_predicted_than_by_shares_is_doubtful() -> None:
    e = evidence(chain(HALF, 0.55), chain(HALF, 0.55))
    assert verdict(e) == "doubtful"
    assert codes(e) == {"weakly-predicted"}


def test_well_predicted_labels_of_too_few_items_are_doubtful_for_that_alone() -> None:
    few = np.arange(20) % 2
    e = evidence(chain(few, 0.78), chain(few, 0.78))
    told = e.reported.information
    assert told.relative > 0.5
    assert told.total < 9
    assert verdict(e) == "doubtful"
    (finding,) = (f for f in findings(e) if f.kind == "warning")
    assert finding.code == "too-few-items"
    assert "20 items" in finding.seen
    needed = int(finding.next.split(":")[1].split()[0])
    assert (needed - 1) * told.total / 20 < 9 <= needed * told.total / 20


@pytest.mark.parametrize(("n_labels", "least"), [(2, 13), (3, 9)])
@pytest.mark.parametrize("sure", [0.2, 0.999])
def test_of_items_so_few_that_right_labels_could_not_convince_nothing_else_is_said(
    n_labels: int, least: int, sure: float
) -> None:
    names = ("no", "yes", "maybe")[:n_labels]
    for size in (2, least - 1):
        labels = np.arange(size) % n_labels
        # Of so few items the permuted labels are often as well predicted.
        e = replace(
            evidence(*[chain(labels, sure, n_labels=n_labels)] * 2, names=names),
            predictability=-0.7,
        )
        assert verdict(e) == "doubtful"
        assert codes(e) == {"too-few-items"}
        assert f"at the very least {least}," in findings(e)[0].next
    enough = np.arange(2 * least) % n_labels
    sure_ones = [chain(enough, 0.999, n_labels=n_labels)] * 2
    assert verdict(evidence(*sure_ones, names=names)) == "salient"


def test_chains_of_one_label_over_few_items_are_told_as_few() -> None:
    e = evidence(*[chain(np.zeros(10, np.int64), 0.999)] * 4)
    assert (verdict(e), codes(e)) == ("doubtful", {"too-few-items"})


@pytest.mark.parametrize(
    ("again", "others", "told"),
    [
        (1, 7, "salient, but found again by only 1 of 7 other chains"),
        (3, 7, "salient, but found again by only 3 of 7 other chains"),
        (4, 7, "salient"),
        (1, 2, "salient"),
    ],
)
def test_a_split_that_fewer_than_half_of_the_chains_found_is_said_to_be(
    again: int, others: int, told: str
) -> None:
    rest = [chain(OTHER_HALF, 0.9)] * (others - again)
    e = evidence(*[chain(HALF)] * (1 + again), *rest)
    assert (verdict(e), told_verdict(e)) == ("salient", told)
    assert ("found-again-by-few" in codes(e, "note")) == (told != "salient")
    for finding in findings(e):
        if finding.code == "found-again-by-few":
            assert finding.seen.startswith(f"Only {again} of {others} other chains")


def test_a_verdict_that_is_not_salient_is_told_as_it_is() -> None:
    e = evidence(chain(HALF, 0.55), chain(HALF, 0.55), *[chain(OTHER_HALF, 0.52)] * 3)
    assert e.by_few
    assert told_verdict(e) == verdict(e) == "doubtful"


def test_of_swapped_names_the_advice_is_a_run_as_a_diagnosis_starts_at_random() -> None:
    e = evidence(chain(HALF), chain(1 - HALF))
    advice = next(f.next for f in findings(e) if f.code == "names-swapped")
    assert "`elicit run --method bootstrap --set start=zero_shot`" in advice


def test_three_labels_are_told_apart_in_the_same_way() -> None:
    thirds = np.arange(N) % 3
    names = ("no", "yes", "maybe")
    turned = (thirds + 1) % 3
    e = evidence(
        *[chain(labels, n_labels=3) for labels in (thirds, thirds, turned)], names=names
    )
    assert (verdict(e), codes(e)) == ("salient", set())
    assert codes(e, "note") == {"names-swapped"}
    feature = Association("the word 'today'", 0.001, 0.93, 0.5, 2, "maybe with it")
    warned = replace(e, surface=(feature,))
    assert codes(warned) == {"surface-feature"}
    assert "alone tells maybe from the other labels" in findings(warned)[0].seen
    every = replace(feature, label=None)
    assert "alone predicts the labels" in findings(replace(e, surface=(every,)))[0].seen


def test_a_rival_split_is_told() -> None:
    e = evidence(chain(HALF), chain(HALF), chain(OTHER_HALF, 0.9))
    assert verdict(e) == "salient"
    assert "other-splits" in codes(e, "note")


def test_labels_no_better_than_permuted_are_not_salient() -> None:
    e = replace(evidence(chain(HALF), chain(HALF)), predictability=-0.7)
    assert verdict(e) == "not salient"
    assert codes(e) == {"no-better-than-permuted"}


def test_a_telling_surface_feature_and_low_coverage_are_warned_of() -> None:
    feature = Association("the word 'today'", 0.001, 0.93, 0.5, 1, "yes with it")
    weak = replace(feature, accuracy=0.6)
    e = evidence(chain(HALF), chain(HALF))
    assert verdict(replace(e, surface=(weak,))) == "salient"
    e = replace(e, surface=(feature,), mean_coverage=0.2)
    assert codes(e) == {"surface-feature", "low-coverage"}
    assert verdict(e) == "doubtful"
    seen = next(f.seen for f in findings(e) if f.code == "surface-feature")
    assert "word 'today'" in seen
    assert "93%" in seen


def test_what_the_model_does_not_see_is_noted_and_decides_nothing() -> None:
    place = Association("position in the data", 0.001, 1, 0.5, 1, "yes above 39.5", shown=False)
    e = replace(evidence(chain(HALF), chain(HALF)), surface=(place,))
    assert verdict(e) == "salient"
    assert (codes(e), codes(e, "note")) == (set(), {"unseen-feature"})
    assert "The model does not see it" in findings(e)[0].seen
    both = replace(e, surface=(place, replace(place, feature="the first word", shown=True)))
    seen = {f.code: f.seen for f in findings(both)}
    assert "position" not in seen["surface-feature"]
    assert "first word" not in seen["unseen-feature"]


def test_more_chains_are_asked_for_until_a_split_is_found_again() -> None:
    for chains, enough in (
        ([chain(HALF), chain(NONE, 0.999)], False),
        ([chain(HALF), chain(1 - HALF)], True),
        ([chain(NONE, 0.999), chain(NONE, 0.999)], False),
    ):
        found = chosen_chain(chains, 2)
        facts = chain_facts(chains, 2, found)
        assert settled(facts, found) == enough


def diagnosed(name: str, limit: int, cache: Path, **options: object) -> Diagnosis:
    pytest.importorskip("llama_cpp", reason="needs the extra local")
    return diagnose(
        open_task(name, limit),
        "tiny",
        settings=BOOTSTRAP,
        cache=cache,
        **options,  # type: ignore[arg-type]  # the options of diagnose, by name
    )


def test_claims_are_salient_and_marked_creatures_nobody_knows_are_not(tmp_path: Path) -> None:
    claims = diagnosed("claims", 64, tmp_path / "e.db")
    assert (claims.verdict, claims.warnings) == ("salient", ())
    assert claims.evidence.agreement_up_to_names is not None
    assert claims.evidence.agreement_up_to_names > 0.85
    assert claims.evidence.rank == 1
    assert claims.evidence.mean_coverage is not None
    assert [len(items) for items in claims.surest] == [5, 5]
    marker = diagnosed("marker", 64, tmp_path / "e.db")
    assert marker.verdict == "not salient"
    assert marker.warnings


def test_a_diagnosis_repeated_is_free_and_one_interrupted_goes_on(tmp_path: Path) -> None:
    whole = diagnosed("claims", 32, tmp_path / "whole.db")
    parts = tmp_path / "parts.db"
    with pytest.raises(BudgetReached):
        diagnosed("claims", 32, parts, limits=Limits(tokens=whole.usage.spent_tokens // 2))
    found = diagnosed("claims", 32, parts)
    assert found.usage.spent_tokens < whole.usage.spent_tokens
    again = diagnosed("claims", 32, parts)
    assert again.usage.forwarded_tokens == 0
    results = [d.as_dict() | {"usage": None} for d in (whole, found, again)]
    assert results[0] == results[1] == results[2]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 9))
def test_permuted_labels_are_others_wherever_there_are_others(
    given: list[int], seed: int
) -> None:
    labels = np.array(given)
    drawn = reordered(labels, np.random.default_rng(seed))
    assert sorted(drawn) == sorted(labels)
    assert (drawn == labels).all() == (len(set(given)) == 1)


@pytest.mark.parametrize("labels", [["no", "yes"], ["no", "yes", "maybe"]])
def test_items_of_a_group_are_tied_and_those_of_one_answer_are_alike(labels: list[str]) -> None:
    rows = [{"text": f"t{i}", "q": f"q{i // 4}", "a": f"a{i // 2}"} for i in range(8)]
    rule = Constraint("same_answer", "yes", by="q", answer="a")
    ties = tied(Task(labels=labels, items=rows, template="{{ text }}", constraints=[rule]))
    assert ties.groups.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert ties.alike.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    task = open_task("claims", 8)
    with pytest.raises(InputError, match="--chains"):
        diagnose(task, "tiny", chains=1, cache=tmp_path / "e.db")
    with pytest.raises(InputError, match="--comparisons"):
        diagnose(task, "tiny", comparisons=1, cache=tmp_path / "e.db")


def test_the_command_prints_the_verdict_and_json(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the extra local")
    app = typer.Typer()
    app.command()(command)
    arguments = ["claims", "--limit", "32", "--seed", "3", "--cache", str(tmp_path / "e.db")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "claims, 32 items: " in shown.stdout
    assert "surest True" in shown.stdout
    told = CliRunner().invoke(app, [*arguments, "--json"])
    data = json.loads(told.stdout)
    assert data["verdict"] in shown.stdout
    assert data["usage"]["forwarded_tokens"] == 0
    assert set(data["surest"]) == {"False", "True"}


def test_labels_worse_than_their_shares_are_not_called_better() -> None:
    told = facts(evidence(chain(HALF, 0.3), chain(HALF, 0.3)))["predicted"]
    assert "nats worse than by their shares" in str(told)
    assert str(told).count("-") == 1, "of the share of the entropy"
    told = facts(evidence(chain(HALF), chain(HALF)))["predicted"]
    assert "nats better than by their shares" in str(told)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), False),
        (("--set", "start=zero_shot"), True),
        (("--set", "start=random"), False),
        (("--set", "start=zero_shot", "--method", "icm"), False),
    ],
)
def test_a_start_that_was_asked_for_and_is_not_used_is_noted(
    tmp_path: Path, more: tuple[str, ...], told: bool
) -> None:
    app = typer.Typer()
    app.command()(command)
    # Nothing may be spent: the note comes before the first request.
    arguments = ["claims", "--limit", "4", "--max-tokens-spent", "0"]
    done = CliRunner().invoke(app, [*arguments, "--cache", str(tmp_path / "e.db"), *more])
    assert ("start = zero_shot (--set) is for `elicit run`" in done.stderr) == told
