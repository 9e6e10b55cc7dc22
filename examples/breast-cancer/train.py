# SPDX-License-Identifier: Apache-2.0
"""Trains on $VOUCH_IN/train.csv and leaves model.json and metrics.json in
$VOUCH_OUT.  Knows nothing of Vouchsafe but these two folders.

The model is written as its numbers, so the same rows give the same file."""

import csv
import json
import os

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LABEL = "diagnosis"

with open(os.path.join(os.environ["VOUCH_IN"], "train.csv"), newline="") as file:
    rows = list(csv.DictReader(file))
columns = [name for name in rows[0] if name != LABEL]
x = [[float(row[name]) for name in columns] for row in rows]
y = [row[LABEL] for row in rows]

pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
pipeline.fit(x, y)
scaler, regression = pipeline[0], pipeline[1]

model = {
    "columns": columns,
    "mean": scaler.mean_.tolist(),
    "scale": scaler.scale_.tolist(),
    "weights": regression.coef_[0].tolist(),
    "intercept": float(regression.intercept_[0]),
    "classes": list(regression.classes_),
}
out = os.environ["VOUCH_OUT"]
with open(os.path.join(out, "model.json"), "w") as file:
    json.dump(model, file, indent=1, sort_keys=True)
with open(os.path.join(out, "metrics.json"), "w") as file:
    json.dump({"rows": len(rows), "training accuracy": round(pipeline.score(x, y), 4)}, file)
print(f"trained on {len(rows)} rows, {len(columns)} columns")
