"""Models, datasets, training, evaluation and aggregation: runs only in the learning worker's process.

The one place that imports torch, numpy, safetensors and scikit-learn. Read `child.py` first, then `train.py` and
`evaluate.py`, for FL Alliance `updates.py` and `aggregate.py`; the white paper's equations of V.C and V.D are in
`formulas.py`. Importing this package imports nothing.
"""
