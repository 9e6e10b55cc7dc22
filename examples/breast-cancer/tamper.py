# SPDX-License-Identifier: Apache-2.0
"""usage: tamper.py csv FROM TO N      turns the diagnosis of data row N of a CSV file
          tamper.py byte FILE OFFSET    turns one bit of a file

Each prints what it did.  Rows count from 1."""

import os
import sys

TURNED = {"M": "B", "B": "M"}


def tamper_csv(source, target, number):
    with open(source) as file:
        lines = file.read().split("\n")
    cells = lines[number].split(",")
    old = cells[-1]
    cells[-1] = TURNED[old]
    lines[number] = ",".join(cells)
    with open(target, "w") as file:
        file.write("\n".join(lines))
    print(f"{cells[0]}: diagnosis {old} -> {cells[-1]} in a copy of the CSV file")


def tamper_byte(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([old ^ 1]))
    print(f"byte {offset}: {old:02x} -> {old ^ 1:02x} in a copy of {os.path.basename(path)[-20:]}")


if sys.argv[1] == "csv":
    tamper_csv(sys.argv[2], sys.argv[3], int(sys.argv[4]))
else:
    tamper_byte(sys.argv[2], int(sys.argv[3]))
