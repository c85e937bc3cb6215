"""From labelled comparisons to an aligned model: a reward model, a policy, a comparison.

Needs the extra `align`: what `lora` needs, and trl, datasets, accelerate. They are imported
where they are used.
"""
