#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is one: judged by openapi-spec-validator, where
tools/setup.sh test has installed it.

usage: api_openapi_test.py API_DOC_TEST"""

import json
import os
import subprocess
import sys

VENV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".venv-test", "bin", "python")


def judge(text):
    """None when it is an OpenAPI document, else why not."""
    from openapi_spec_validator import OpenAPIV31SpecValidator
    errors = [error.message for error in OpenAPIV31SpecValidator(json.loads(text)).iter_errors()]
    return "; ".join(errors)[:500] or None


def main():
    if len(sys.argv) == 2:
        if not os.access(VENV, os.X_OK):
            print("skipped: no .venv-test; tools/setup.sh test makes it")
            sys.exit(77)
        os.execv(VENV, [VENV, *sys.argv, "--judge"])
    text = subprocess.run([sys.argv[1], "--openapi"], capture_output=True, text=True, check=True).stdout
    found = judge(text)
    if found:
        sys.exit(f"not ok - the document: {found}")
    print("ok - the document is OpenAPI 3.1")
    # The judge itself: what is wrong is found.
    for name, change in (("responses that are a list", lambda d: d["paths"]["/v1/info"]["get"].update(responses=[])),
                         ("a path parameter that isn't declared", lambda d: d["paths"]["/v1/entry/{index}"]["get"].pop("parameters")),
                         ("a reference to nothing", lambda d: d["components"].pop("responses")),
                         ("no version", lambda d: d["info"].pop("version"))):
        document = json.loads(text)
        change(document)
        try:
            found = judge(json.dumps(document))
        except Exception as error:  # a reference that leads nowhere
            found = str(error)
        if not found:
            sys.exit(f"not ok - {name}: not found")
        print(f"ok - {name} is found")


if __name__ == "__main__":
    main()
