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
from elicit.cli.tasks import open_task
from elicit.diagnose import Diagnosis, diagnose
from elicit.outcome import Chain
from elicit.providers.usage import BudgetReached, Limits
from elicit.salience import Comparison, Evidence, chain_facts, information, settled
from elicit.scorer import FloatArray, IntArray
from elicit.settings import RunSettings
from elicit.verdict import findings, verdict

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


def chain(labels: IntArray, sure: float = 0.95, objective: float = -3.0) -> Chain:
    log_probs = predicted(labels, sure)
    return Chain(labels, np.full(N, np.log(sure / (1 - sure))), objective, 0, log_probs)


def evidence(*chains: Chain) -> Evidence:
    found, facts = chain_facts(chains, 2)
    return Evidence(
        label_names=("no", "yes"),
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


def test_more_chains_are_asked_for_until_a_split_is_found_again() -> None:
    for chains, enough in (
        ([chain(HALF), chain(NONE, 0.999)], False),
        ([chain(HALF), chain(1 - HALF)], True),
        ([chain(NONE, 0.999), chain(NONE, 0.999)], False),
    ):
        found, facts = chain_facts(chains, 2)
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
