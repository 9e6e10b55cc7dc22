# SPDX-License-Identifier: Apache-2.0
"""usage: rows.py rows.csv persons.txt

Writes scikit-learn's breast cancer data (569 rows, 30 measurements) with an
invented person in front of each row, diagnosis M (malignant) or B (benign),
and the persons alone."""

import csv
import sys

from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
names = [str(name).replace(" ", "_") for name in data.feature_names]
with open(sys.argv[1], "w", newline="") as rows, open(sys.argv[2], "w") as persons:
    out = csv.writer(rows, lineterminator="\n")
    out.writerow(["person", *names, "diagnosis"])
    for i, (values, target) in enumerate(zip(data.data, data.target), 1):
        person = f"owner-{i:03}"
        persons.write(person + "\n")
        out.writerow([person, *(repr(float(v)) for v in values), "MB"[target]])
