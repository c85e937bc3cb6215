"""Each stage of an alignment: what it is made of, and how.

`elicit.align.pipeline` says in which order they come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import (
    Comparison,
    Labeller,
    Preference,
    by_labeller,
    by_reward,
    offered,
)
from elicit.align.policy import PEFT, train_policy
from elicit.align.reward import reward_model, train_reward
from elicit.align.sampling import sample_answers
from elicit.align.stages import Done, Stages, read_written, write_rows
from elicit.align.start import Model, train_start
from elicit.labelling import CachePath, label
from elicit.providers.llama_cpp.content_hash import content_hash
from elicit.providers.registry import lasting_name
from elicit.scorer import IntArray
from elicit.task import Task

LABELS, PREFERENCES, COMPARISONS, ANSWERS = (
    "labels.jsonl",
    "preferences.jsonl",
    "comparisons.jsonl",
    "answers.jsonl",
)
Told = Callable[[str], None]


@dataclass(frozen=True)
class Aligned:
    """What one supervisor's labels came to."""

    preferences: tuple[Preference, ...]
    """Of the first comparisons."""
    first_reward: Done
    second: Done
    """Preferences among the comparisons of the starting policy's answers."""
    reward: Done
    policy: Done
    answers: Done
    """To the held-out prompts."""


@dataclass(frozen=True)
class Work:
    """The stages, with what all of them share."""

    stages: Stages
    base: Model
    settings: AlignSettings
    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def labelled(self, part: Task, model: str, cache: CachePath) -> IntArray:
        """The search's labels of the first comparisons."""
        search = replace(self.settings.search, seed=self.settings.seed)

        def make(out: Path, told: Told) -> Mapping[str, object]:
            result = label(
                part,
                model,
                cache=cache,
                settings=search,
                on_progress=lambda now: told(f"iteration {now.state.iteration}"),
            )
            rows = zip(part.items, result.labels.tolist(), strict=True)
            write_rows(out / LABELS, [{"id": i.id, "label": found} for i, found in rows])
            return {"run": result.run.name, "items": len(part.items)}

        asked = lasting_name(model)
        made_of = {"task": part.digest(), "model": asked, "search": search.as_dict()}
        done = self.stages.done("labels", {**made_of, **self._of_base()}, [], make)
        rows = read_written(done.folder / LABELS)
        return np.array([row["label"] for row in rows], np.int64)

    def started(self, said: Mapping[str, tuple[str, ...]]) -> Done | None:
        """The starting policy; None where it is the base model as it is."""
        if not said:
            return None
        settings = replace(self.settings.start, seed=self.settings.seed)
        wording = self.settings.wording
        made_of = {"said": said, "settings": settings.decides(), "wording": asdict(wording)}
        return self.stages.done(
            "start",
            {**made_of, **self._of_base()},
            [],
            lambda out, told: train_start(said, self.base, out, wording, settings, told),
        )

    def more(self, start: Model, after: list[Done], asked: Set[str]) -> Done:
        """Comparisons for the prompts that had none, of the starting policy's answers."""
        s = self.settings
        prompts = [p for p in self.train if p not in asked]

        def make(out: Path, _told: Told) -> Mapping[str, object]:
            given = sample_answers(
                start.form,
                None,
                prompts,
                s.sampled,
                s.wording,
                longest=s.policy.longest,
                temperature=s.policy.temperature,
                seed=(s.seed, 4),
                threads=s.threads,
            )
            answers = {
                p: [a.text for a in some] for p, some in zip(prompts, given, strict=True)
            }
            made = offered(answers, s.offered, np.random.default_rng([s.seed, 5]))
            write_rows(out / COMPARISONS, [asdict(c) for c in made])
            return {"prompts": len(prompts), "comparisons": len(made)}

        made_of = {"prompts": prompts, "sampled": s.sampled, "offered": s.offered}
        return self.stages.done("comparisons", {**made_of, **self._of_answers()}, after, make)

    def aligned(
        self,
        name: str,
        first: tuple[Preference, ...],
        start: Model,
        more: Done,
        labeller: Labeller | None = None,
    ) -> Aligned:
        """From one supervisor's first labels to its policy and what that answers; a labeller
        labels the other comparisons in place of the first reward model."""
        first_reward = self.rewarded(f"first-reward-{name}", first, [])
        if labeller is None:
            second = self.relabelled(name, first_reward, more)
        else:
            second = self.annotated(name, labeller, more)
        others = [Preference(**r) for r in read_written(second.folder / PREFERENCES)]
        reward = self.rewarded(f"reward-{name}", (*first, *others), [second])
        policy = self.optimised(name, reward, start, more)
        answers = self.answered(name, start, [policy], policy.folder / PEFT)
        return Aligned(first, first_reward, second, reward, policy, answers)

    def rewarded(
        self, stage: str, preferences: tuple[Preference, ...], after: list[Done]
    ) -> Done:
        """A reward model of these preferences."""
        s = self.settings
        rows = [asdict(p) for p in preferences]
        made_of = {"preferences": rows, "reward": asdict(s.reward), **self._of_base()}
        made_of |= {"wording": asdict(s.wording), "seed": s.seed, "threads": s.threads}
        return self.stages.done(
            stage,
            made_of,
            after,
            lambda out, told: train_reward(
                preferences, self.base.form, out, s.wording, s.reward, s.seed, s.threads, told
            ),
        )

    def relabelled(self, name: str, reward: Done, more: Done) -> Done:
        """The other comparisons as a reward model has them, where it is sure."""
        s = self.settings

        def make(out: Path, _told: Told) -> Mapping[str, object]:
            comparisons = _compared(more)
            with reward_model(self.base.form, reward.folder, s.wording, s.threads) as opened:
                first, second = opened.compare(comparisons)
            found = by_reward(comparisons, first, second, s.confident)
            write_rows(out / PREFERENCES, [asdict(p) for p in found])
            return {"comparisons": len(comparisons), "preferences": len(found)}

        made_of = {"confident": s.confident}
        return self.stages.done(f"relabelled-{name}", made_of, [reward, more], make)

    def annotated(self, name: str, labeller: Labeller, more: Done) -> Done:
        """The other comparisons as a labeller has them. It is asked each time: what it
        prefers is part of what the stage is made of."""
        comparisons = _compared(more)
        found = by_labeller(comparisons, labeller)
        rows = [asdict(p) for p in found]

        def make(out: Path, _told: Told) -> Mapping[str, object]:
            write_rows(out / PREFERENCES, rows)
            return {"comparisons": len(comparisons), "preferences": len(found)}

        return self.stages.done(f"annotated-{name}", {"preferences": rows}, [more], make)

    def optimised(self, name: str, reward: Done, start: Model, more: Done) -> Done:
        """The policy that a reward model makes."""
        s = self.settings

        def make(out: Path, told: Told) -> Mapping[str, object]:
            with reward_model(self.base.form, reward.folder, s.wording, s.threads) as opened:
                return train_policy(
                    self.train,
                    opened.rewards,
                    start,
                    out,
                    s.wording,
                    s.policy,
                    s.seed,
                    s.threads,
                    told,
                )

        made_of = {"prompts": self.train, "policy": s.policy.decides(), **self._of_answers()}
        return self.stages.done(f"policy-{name}", made_of, [reward, more], make)

    def answered(self, name: str, start: Model, after: list[Done], peft: Path | None) -> Done:
        """What a policy answers to the held-out prompts: sampled, and the likeliest."""
        s = self.settings

        def make(out: Path, _told: Told) -> Mapping[str, object]:
            sampled, likeliest = (
                sample_answers(
                    start.form,
                    peft,
                    self.held_out,
                    count,
                    s.wording,
                    longest=s.policy.longest,
                    temperature=temperature,
                    seed=(s.seed, 6),
                    threads=s.threads,
                )
                for count, temperature in ((s.judged, s.policy.temperature), (1, 0.0))
            )
            rows = [
                {"prompt": p, "sampled": [asdict(a) for a in some], "likeliest": asdict(one[0])}
                for p, some, one in zip(self.held_out, sampled, likeliest, strict=True)
            ]
            write_rows(out / ANSWERS, rows)
            return {"prompts": len(rows), "answers": s.judged * len(rows)}

        made_of = {"prompts": self.held_out, "judged": s.judged, **self._of_answers()}
        return self.stages.done(f"answers-{name}", made_of, after, make)

    def _of_base(self) -> dict[str, object]:
        return {"base": content_hash(self.base.gguf)}

    def _of_answers(self) -> dict[str, object]:
        s = self.settings
        shared = {"seed": s.seed, "threads": s.threads, "wording": asdict(s.wording)}
        how = {"longest": s.policy.longest, "temperature": s.policy.temperature}
        return {**how, **shared, **self._of_base()}


def _compared(more: Done) -> list[Comparison]:
    return [Comparison(**row) for row in read_written(more.folder / COMPARISONS)]
