# SPDX-License-Identifier: Apache-2.0
"""usage: decide.py model.json rows.csv

One decision for each row, as JSON Lines on stdout: input, output, and the
three measurements that weighed most.  When the rows carry the true diagnosis,
how often the model was right goes to stderr; the model never sees it."""

import csv
import json
import math
import sys

LABEL = "diagnosis"


def decide(model, row):
    parts = []
    for name, mean, scale, weight in zip(model["columns"], model["mean"], model["scale"], model["weights"]):
        parts.append((weight * (float(row[name]) - mean) / scale, name))
    score = model["intercept"] + sum(part for part, _ in parts)
    parts.sort(key=lambda part: -abs(part[0]))
    return {
        "input": {name: row[name] for name in model["columns"]},
        "output": {"diagnosis": model["classes"][score > 0], "probability": round(1 / (1 + math.exp(-score)), 6)},
        "reasons": [f"{name}: {part:+.2f}" for part, name in parts[:3]],
    }


with open(sys.argv[1]) as file:
    model = json.load(file)
right = total = 0
with open(sys.argv[2], newline="") as file:
    for row in csv.DictReader(file):
        decision = decide(model, row)
        print(json.dumps(decision))
        total += 1
        right += decision["output"]["diagnosis"] == row.get(LABEL)
print(f"{right} of {total} right", file=sys.stderr)
