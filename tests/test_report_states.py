"""What a page says of a run in each of its states, and that it says nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from report_world import begun, bootstrap, comparison, curve, facts, mixture, underway

from elicit.report.facts import Curve, DiagnosisFacts, RunFacts
from elicit.report.page import comparison_page, page
from elicit.report.run_charts import search_charts
from elicit.verdict import Finding

ONE_SEARCH = Finding("one-search", "note", "One search was made.", "`elicit diagnose` starts.")
DIAGNOSIS = DiagnosisFacts("salient", (), 1_790_000_000.0)


def told(document: str) -> str:
    """The words of a page, without what its scripts and its glossary say."""
    for part in ("script", "style", 'details class="words"'):
        end = part.partition(" ")[0]
        document = re.sub(f"<{part}.*?</{end}>", "", document, flags=re.DOTALL)
    return " ".join(unescape(re.sub("<[^>]*>", " ", document)).split())


def with_curve(run: RunFacts, searched: Curve) -> RunFacts:
    return replace(run, chains=(replace(run.chains[0], curve=searched),), planned_chains=1)


def figures(run: RunFacts, title: str) -> tuple[tuple[str, ...], ...]:
    (chart,) = (chart for chart in search_charts(run) if chart.title == title)
    return chart.rows


def titles(run: RunFacts) -> list[str]:
    return [chart.title for chart in search_charts(run)]


def test_iterations_are_told_by_the_number_of_the_last() -> None:
    run = with_curve(facts(), curve(31))
    assert run.chains[0].curve.iterations[-1] == 30
    assert re.search(r"1 answer −2\.50 0 30 \d+ % of 30", told(page(run)))


def test_only_a_method_that_decides_on_proposals_tells_of_them() -> None:
    assert "Proposals taken" in titles(facts())
    assert "Chain U Inconsistent pairs Iterations Proposals taken" in told(page(facts()))
    assert "Proposals taken" not in titles(bootstrap())
    assert "Proposals taken" not in told(page(bootstrap()))
    assert "Chain U Inconsistent pairs Rounds False" in told(page(bootstrap()))


def test_labels_changed_are_told_round_by_round_without_the_first_labels() -> None:
    one = with_curve(bootstrap(), bootstrap().chains[0].curve)
    rows = figures(one, "Labels changed")
    assert [(x, y) for _, x, y in rows] == [("1", "14"), ("2", "5"), ("3", "2")]


def test_labels_changed_are_told_as_means_over_stretches_of_many_iterations() -> None:
    changed = (8, *(2,) * 10, *(0,) * 10)
    rows = figures(with_curve(facts(), replace(curve(21), changed=changed)), "Labels changed")
    assert [(x, y) for _, x, y in rows] == [("10", "2"), ("20", "0")]


def test_labels_changed_are_left_out_where_they_were_not_kept() -> None:
    run = with_curve(facts(), replace(curve(21), changed=(None,) * 21))
    assert "Labels changed" not in titles(run)


def test_a_finished_run_has_an_answer_and_nothing_to_go_on_with() -> None:
    document = told(page(facts()))
    assert "the chain whose labels are the answer" in document
    assert "3 chains" in document
    assert re.search("so far|elicit resume|yet", document) is None


@pytest.mark.parametrize("run", [begun(), underway(), underway("interrupted")])
def test_a_page_of_an_unfinished_run_claims_no_answer_and_no_look_at_the_labels(
    run: RunFacts,
) -> None:
    document = page(run)
    words = told(document)
    assert not re.search(r"\banswer\b", words)
    assert "answer, chain" not in document
    assert "Nothing is warned of" not in words
    assert "The labels have not been looked at" in words
    assert "Warnings – not looked at yet" in words
    assert "One chain" not in words


def test_chains_that_are_planned_are_told_of_before_they_begin() -> None:
    words = told(page(begun()))
    assert "1 of 3 chains has begun. No agreement is known yet." in words
    assert "1 of 3 chains begun" in words
    words = told(page(underway()))
    assert "2 of 3 chains have begun. So far two chains agree on 95.8 %" in words
    assert "the strong line is the chain that is best so far" in words
    assert "Objective U −2.50 of the best chain so far" in words
    words = told(page(facts(chains=1)))
    assert "With one chain there is no agreement to be told." in words


@pytest.mark.parametrize("status", ["interrupted", "failed", "budget"])
def test_a_page_of_a_run_that_stopped_says_how_it_goes_on(status: str) -> None:
    words = told(page(replace(underway(status), name="my run")))
    assert "elicit resume 'my run' goes on where it stopped" in words
    assert ("with a larger budget" in words) == (status == "budget")
    assert "elicit resume" not in told(page(underway()))


def test_a_cost_that_is_not_told_yet_is_not_nothing() -> None:
    words = told(page(begun()))
    assert "Cost Told as the run goes on. Settings" in words
    assert "no server was asked" not in words
    first = replace(underway(), usage={}, usage_known=False)
    words = told(comparison_page(comparison(first, replace(first, name="other"))))
    assert "Prompts answered told as the run goes on told as the run goes on" in words
    assert "no server was asked" not in words
    killed = told(page(replace(begun(), status="interrupted")))
    assert "Cost Not known: the run stopped before it could tell. Settings" in killed


def test_the_cost_of_a_run_that_is_not_finished_is_told_as_what_it_was_so_far() -> None:
    assert "Cost So far, as last written down" in told(page(underway()))
    assert "Cost Of what was done before the run stopped." in told(page(underway("failed")))
    assert "Cost Prompts answered by the model 2,400" in told(page(facts()))


def test_a_diagnosis_is_not_followed_by_the_advice_to_make_one() -> None:
    run = replace(facts(), findings=(ONE_SEARCH,))
    assert "one-search" in told(page(run))
    assert "No diagnosis is kept of this task and model" in told(page(run))
    diagnosed = told(page(replace(run, diagnosis=DIAGNOSIS)))
    assert "one-search" not in diagnosed
    assert "elicit diagnose" not in diagnosed
    assert "Nothing is warned of" in diagnosed


def test_a_note_of_the_diagnosis_itself_stays() -> None:
    own = replace(DIAGNOSIS, findings=(ONE_SEARCH,))
    words = told(page(replace(facts(), findings=(ONE_SEARCH,), diagnosis=own)))
    assert words.count("one-search") == 1


def test_a_mixture_says_that_objective_and_prompts_are_of_the_best_chain() -> None:
    words = told(page(mixture()))
    assert "Objective U −2.50 of the best chain; 0 inconsistent pairs" in words
    assert "Objective U of the best chain −2.500" in words
    assert "the answer is the mixture of all" in words
    assert "The answer is a mixture of 3 chains. This is the prompt of the best chain" in words
    assert "of the best chain" in told(comparison_page(comparison(facts(), mixture())))
    for plain in (facts(), facts(chains=1), replace(mixture(), chains=())):
        assert "The answer is" not in told(page(plain))
        assert "best chain" not in told(page(plain))


@pytest.mark.parametrize(
    "word",
    ["Probability of all labels together", "Scores that are bounds", "Nat",
     "Agree up to the labels' names", "Of the surest 80 %", "alike", "tokens without sharing"],
)  # fmt: skip
def test_words_that_a_stranger_will_not_know_are_told(word: str) -> None:
    found = re.search('<details class="words".*?</details>', page(facts()), flags=re.DOTALL)
    assert found is not None
    terms = re.findall("<dt>(.*?)</dt>", found[0])
    assert any(word in unescape(term) for term in terms)
