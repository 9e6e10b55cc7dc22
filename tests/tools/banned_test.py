# SPDX-License-Identifier: Apache-2.0
from plant import Plant


def function(lines):
    """A C function of so many lines, its signature and braces among them."""
    return "\nint f(void)\n{\n" + "    g();\n" * (lines - 3) + "}\n"


check = Plant("banned.py")
check.passes("a clean tree", {})
for name in ("strcpy", "strcat", "sprintf", "gets", "strtok", "atoi", "atol", "alloca", "system", "popen", "mktemp", "rand", "srand"):
    check.refuses(name, {"src/cli/a.c": f"int x(void) {{ return {name}(a); }}\n"}, "src/cli/a.c:2", f"{name}()")
check.refuses("an unsafe function in a test", {"tests/unit/a_test.c": "void x(void) { strcpy(a, b); }\n"}, "strcpy()")
check.passes("an unsafe function's name in comment and text", {"src/cli/a.c": '/* strcpy(a, b) */\nconst char *x = "strcpy(a, b)";\n'})
check.passes("a longer name that ends alike", {"src/cli/a.c": "void x(void) { vch_strcpy(a, b); }\n"})
for name in ("malloc", "calloc", "realloc", "free", "strdup"):
    check.refuses(name + " outside base", {"src/log/a.c": f"void x(void) {{ y = {name}(a); }}\n"}, "src/log/a.c:2", f"{name}()")
check.passes("free of another library", {"src/log/a.c": "void x(void) { EVP_PKEY_free(a); sodium_free(b); json->free(c); }\n"})
check.passes("malloc in a test", {"tests/unit/a_test.c": "void x(void) { y = malloc(1); }\n"})
for name in ("time", "clock_gettime", "open", "fopen", "pread", "getrandom", "randombytes_buf", "fork"):
    check.refuses(name + " outside port", {"src/log/a.c": f"int x(void) {{ return {name}(a); }}\n"}, "src/log/a.c:2", f"{name}()")
check.passes("the port's own open", {"src/log/a.c": "int x(void) { return port->disk->open(a); }\n"})
check.passes("fork in the runner of children", {"src/node/child.c": "int x(void) { return fork(); }\n"})
check.refuses("fork elsewhere in the node", {"src/node/scan.c": "int x(void) { return fork(); }\n"}, "src/node/scan.c:2")
check.refuses("floating point in the state machine", {"src/state/a.c": "double x;\n"}, "src/state/a.c:2", "double")
check.passes("floating point where it may be", {"src/cli/a.c": "double x;\n"})
check.passes("a function of 70 lines", {"src/log/a.c": function(70)[1:]})
check.refuses("a function of 71 lines", {"src/log/a.c": function(71)[1:]}, "src/log/a.c:2", "71 lines")
check.refuses("a second function of 71 lines", {"src/log/a.c": function(9)[1:] + function(71)}, "src/log/a.c", "71 lines")
check.refuses("a file without licence line", {"src/log/a.c": "\nint x;\n"}, "src/log/a.c:1", "SPDX")
check.refuses("a script without licence line", {"tools/a.py": "#!/usr/bin/env python3\nprint()\n"}, "tools/a.py:1", "SPDX")
check.passes("a script with its licence below the interpreter",
             {"tools/a.py": "#!/usr/bin/env python3\n# SPDX-License-Identifier: Apache-2.0\n"})
for word in ("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"):
    check.refuses(word, {"src/log/a.c": f"/* {word} later */\n"}, "src/log/a.c:2", word)
check.passes("a template for temporary names", {"src/log/a.c": 'char x[] = "a.XXXXXX";\n'})
check.refuses("a path of one machine", {"docs/a.md": "see /wo" + "rk/shared\n"}, "docs/a.md:1")
check.passes("a path that only ends alike", {"docs/a.md": "see net/wo" + "rk/shared\n"})
check.passes("a verifier of 2,400 lines", {"src/verify/a.c": "int x;\n" * 2399})
check.refuses("a verifier of 2,401 lines", {"src/verify/a.c": "int x;\n" * 2400}, "2401 lines")
check.end()
