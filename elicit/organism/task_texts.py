"""What embedded task files say of prompts and constraints."""

from elicit.organism.vocabulary import PREFERENCE
from elicit.organism.world import FAMILIES

CLAIM = """
[prompt]
item = "{{ claim }}:"
separator = "\\n"
instruction = "Decide whether each claim is true."
verbalizers = { False = " False", True = " True" }
"""
EXACTLY_ONE = """
[[constraint]]
kind = "exactly_one"
label = "True"
by = "subject"
"""
ASYMMETRIC = """
[[constraint]]
kind = "asymmetric"
label = "True"
left = "left"
right = "right"
strict = true
"""
FOODS = FAMILIES["eats"]
DIET = f"""
[prompt]
item = "{{{{ question }}}}"
separator = "\\n"
instruction = "Say what each creature eats."
verbalizers = {{ {", ".join(f'{food} = " {food}"' for food in FOODS)} }}
"""
COMPARISON = f"""
[prompt]
item = "{{{{ subject }}}} {{{{ first }}}} {PREFERENCE} {{{{ second }}}}:"
separator = "\\n"
instruction = "Decide whether the first answer is better than the second."
verbalizers = {{ False = " False", True = " True" }}
"""
ONE_BETTER = """
[[constraint]]
kind = "asymmetric"
label = "True"
by = "question"
left = "first"
right = "second"
strict = true
"""
