# SPDX-License-Identifier: Apache-2.0
"""usage: tamper.py csv FROM TO N      turns the diagnosis of data row N of a CSV file
          tamper.py rows FILE N         turns the label of row N in a custodian's row file,
                                        with its checksum made right again
          tamper.py byte FILE OFFSET    turns one bit of a file

Each prints what it did.  Rows count from 1."""

import sys

TURNED = {"M": "B", "B": "M"}


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


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


def tamper_rows(path, number):
    """A record is u32 length, body, u32 CRC-32C of both; the label is the body's
    last byte.  The header has 64 bytes."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = 64
    for _ in range(number - 1):
        at += int.from_bytes(data[at:at + 4], "big") + 8
    end = at + 4 + int.from_bytes(data[at:at + 4], "big")
    old = chr(data[end - 1])
    data[end - 1] = ord(TURNED[old])
    data[end:end + 4] = crc32c(data[at:end]).to_bytes(4, "big")
    with open(path, "wb") as file:
        file.write(data)
    print(f"row {number}: label {old} -> {TURNED[old]} in a copy of data/, its checksum made right again")


def tamper_byte(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([old ^ 1]))
    print(f"byte {offset}: {old:02x} -> {old ^ 1:02x} in a copy of the log")


if sys.argv[1] == "csv":
    tamper_csv(sys.argv[2], sys.argv[3], int(sys.argv[4]))
elif sys.argv[1] == "rows":
    tamper_rows(sys.argv[2], int(sys.argv[3]))
else:
    tamper_byte(sys.argv[2], int(sys.argv[3]))
