#!/usr/bin/python3
"""Every operation and attribute is documented, and its constraints are checked.

- There is a summary, a description that is more than a reference to another
  page, and an example (operations and attributes).
- The constraints of a description are labelled (C1), (C2), .. and each label
  stands in a comment where it is checked: in a member function of the class, in
  a static function that one calls, or in the definition where ODS checks it.
- No check has a label that the description lacks.
"""

import re

import lint
import ods

LABEL = re.compile(r"\(C(\d+)\)")
HEAD = re.compile(r"^(?!//|#|\s|\}|namespace|using|struct|class)[^;{}]*?"
                  r"([\w:]+)\([^;{]*\)[^;{]*\{", re.MULTILINE)


def body_end(text, start):
    """Where the braces that are open at `start` are closed again."""
    depth = 1
    for match in re.compile(r"//.*|\"(?:\\.|[^\"\n])*\"|'\\?.'|[{}]").finditer(
            text, start):
        if match.group() in "{}":
            depth += 1 if match.group() == "{" else -1
            if depth == 0:
                return match.end()
    return len(text)


def functions(folder):
    """Name and text of every function in the sources under `folder`."""
    result = []
    for path in sorted(folder.rglob("*.cpp")):
        text = path.read_text()
        for match in HEAD.finditer(text):
            end = body_end(text, match.end())
            result.append((match.group(1), text[match.start():end]))
    return result


def labels_in_comments(text):
    return {int(number) for match in re.finditer(r"//.*", text)
            for number in re.findall(r"\bC(\d+)\b", match.group(0))}


def definition(record):
    """The text of the def without its description."""
    text = "\n".join(record.path.read_text().splitlines()[record.line - 1:])
    text = text.split("\n}\n")[0]
    return re.sub(r"description\s*=\s*\[\{.*?\}\];", "", text,
                  flags=re.DOTALL)


def checked_labels(record, known):
    own = [text for name, text in known
           if name.split("::")[0] == record.cpp_class]
    called = {name for text in own for name in re.findall(r"\b(\w+)\(", text)}
    own += [text for name, text in known
            if name in called and text.startswith("static")]
    return labels_in_comments("\n".join(own) + "\n" + definition(record))


def check_labels(record, known):
    """Messages about the constraint labels of one record."""
    described = [int(label) for label in LABEL.findall(record.description)]
    if described != list(range(1, len(described) + 1)):
        yield f"expected labels (C1), (C2), .. in order, found {described}"
    if record.has_verifier and not described:
        yield "has a verifier, but its description lists no constraints"
    checked = checked_labels(record, known)
    for label in described:
        if label not in checked:
            yield (f"constraint C{label} is checked nowhere: no comment names "
                   f"it in {record.cpp_class} or in the definition")
    for label in sorted(checked - set(described)):
        yield f"C{label} is checked, but the description does not list it"


def check(root):
    known = {}
    for record in ods.records(root):
        def message(text):
            return record.path, record.line, f"{record.name}: {text}"

        if not record.summary:
            yield message("expected a summary")
        # A stage may say everything in its summary; it still has an example.
        words = record.description.split()
        if len(words) < 3 - 2 * (record.kind == "AttrDef") or re.match(
                r"\s*[Ss]ee\s\S+\.?\s*$", record.description):
            yield message("expected a description")
        if record.kind == "PassBase":
            continue
        if "Example:" not in record.description:
            yield message("expected an example in the description")
        folder = record.path.parent
        if folder not in known:
            known[folder] = functions(folder)
        for text in check_labels(record, known[folder]):
            yield message(text)


TD = """
class Op<string m> {{ string opName = m; string summary = "";
  string description = ""; bit hasVerifier = 0; }}
def X_AOp : Op<"a"> {{
  let summary = "{summary}";
  let description = [{{{description}}}];
  let hasVerifier = {verifier};
}}
"""
CPP = """
static bool isEven(int n) {{
  if (n < 0) {{
    n = -n;
  }}
  return n % 2 == 0; // C2
}}
LogicalResult AOp::verify() {{
  if (bad) // {label}
    return failure();
  return success(isEven(1));
}}
"""
GOOD = "What it does in words.\n(C1) x\n(C2) y\nExample: `x.a`"


def tree(summary="a thing", description=GOOD, verifier=1, label="C1"):
    return {"dialects/x/X.td": TD.format(summary=summary, verifier=verifier,
                                         description=description),
            "dialects/x/X.cpp": CPP.format(label=label)}


if __name__ == "__main__":
    lint.main(
        check, good=tree(),
        bad=[
            tree(summary=""),
            tree(description="See foo."),
            tree(description="What it does in words.\n(C1) x\n(C2) y"),
            tree(description="What it does in words. Example: `x.a`"),
            tree(description=GOOD.replace("(C2)", "(C3)")),
            tree(description=GOOD.replace("(C2) y", "(C2) y\n(C3) z")),
            tree(label="C4"),
            tree(label="why"),
        ])
