# SPDX-License-Identifier: Apache-2.0
from plant import Plant

check = Plant("ranks.py")
check.passes("a clean tree", {})
check.passes("an include of a lower rank", {"src/state/a.c": '#include "crypto/sha256.h"\n', "src/crypto/sha256.h": "\n"})
check.refuses("an include of a higher rank", {"src/base/up.c": '#include "state/state.h"\n'}, "src/base/up.c:2", "above")
check.refuses("an include upward by a relative path", {"src/base/up.c": '#include "../state/state.h"\n'}, "src/base/up.c:2")
check.refuses("an include upward in angle brackets", {"src/base/up.c": "#include <state/state.h>\n"}, "src/base/up.c:2")
check.passes("an include upward in a comment", {"src/base/up.c": '/*\n#include "state/state.h"\n*/\n'})
check.passes("one rank, one direction", {"src/log/a.h": "\n", "src/entry/b.c": '#include "log/a.h"\n'})
check.refuses("a circle within a rank",
              {"src/log/a.h": '#include "entry/b.h"\n', "src/entry/b.h": '#include "log/a.h"\n'}, "circle", "log", "entry")
check.refuses("a longer circle within a rank",
              {"src/log/a.h": '#include "entry/b.h"\n', "src/entry/b.h": '#include "policy/c.h"\n',
               "src/policy/c.h": '#include "log/a.h"\n'}, "circle")
check.refuses("the operating system in the state machine", {"src/state/a.c": '#include "port/port.h"\n'}, "must do without port")
check.refuses("the log in the verifier", {"src/verify/a.c": '#include "log/a.h"\n', "src/log/a.h": "\n"}, "must do without log")
check.refuses("a module without rank", {"src/other/a.c": "\n"}, "src/other/a.c", "rank")
check.refuses("a private header in a public one", {"include/vouchsafe/x.h": '#include "base/base.h"\n'}, "include/vouchsafe/x.h:2")
check.refuses("another library in a public header", {"include/vouchsafe/x.h": "#include <openssl/evp.h>\n"}, "openssl/evp.h")
check.passes("a public header in a public one", {"include/vouchsafe/x.h": '#include "vouchsafe/types.h"\n'})
check.end()
