"""A hosted model with a budget: stopped in time, resumed without paying twice.

Labels 24 claims with a model behind any server that speaks OpenAI's protocol (vLLM,
llama-server, Ollama, a hosted one ...), a given number of requests at a time. Each time the
budget is reached the run stops and says so; it is then resumed. Prints what each turn was
billed, and that the sum is what there was to pay.

    python 05_hosted_budget.py URL#MODEL [REQUESTS A TURN]
    python 05_hosted_budget.py http://127.0.0.1:8000/v1#my-model 40

A key, if the server wants one, is taken from COMPATIBLE_API_KEY. To bound money in place of
requests: `elicit.Limits(cost_usd=1.0)`.
"""

import sys
from importlib.resources import files

import elicit

TASK = str(files("elicit.organism") / "tasks" / "claims.toml")


def main(address: str, requests: str = "40") -> None:
    task = elicit.load_task(TASK, limit=24)
    limits = elicit.Limits(calls=int(requests))
    turns: list[elicit.Usage] = []

    def spent(usage: elicit.Usage) -> None:
        """Told whenever something was used: what this turn has used so far."""
        turns[-1] = usage

    result = None
    while result is None:
        turns.append(elicit.Usage())
        try:
            if len(turns) == 1:
                model = f"compatible:{address}"
                result = elicit.label(
                    task, model, name="claims-hosted", limits=limits, on_usage=spent
                )
            else:
                result = elicit.resume("claims-hosted", limits=limits, on_usage=spent)
        except elicit.BudgetReached as reached:
            print(f"turn {len(turns)}: {turns[-1].calls} requests. {reached}")
    print(f"turn {len(turns)}: {turns[-1].calls} requests. Done.")

    counts = {name: int(sum(result.labels == i)) for i, name in enumerate(task.labels)}
    print(f"{sum(turn.calls for turn in turns)} requests in all for labels {counts}")


if __name__ == "__main__":
    main(*sys.argv[1:])
