"""Turns the comments of a C++ header into reStructuredText for the C++ domain of Sphinx.

A comment directly above a declaration, or behind it, becomes its text. Comments may begin with //, /// or ///<.
Declarations that follow without a comment and without an empty line share this text. Private members, destructors,
assignments and moves are left out. In comments, lines that are indented by four spaces are code.
"""

import re

COMMENT = re.compile(r"\s*//+ ?(.*)")
TRAILING = re.compile(r"\s+//+<? ?(.*)$")
SKIPPED = re.compile(r"~|friend |#|(?:class|struct) \w+;|.*operator=\(|(\w+)\(\1&&\)")
INDENT = "   "


def namespace_of(text):
    """Return the lines of the header inside its namespace."""
    return re.search(r"^namespace \w+ \{\n(.*)^\}  // namespace", text, re.MULTILINE | re.DOTALL)[1].splitlines()


def introduction(text):
    """Return the comment at the top of the header, without the slashes."""
    return [COMMENT.match(line)[1] for line in re.match(r"(?://.*\n)+", text)[0].splitlines()]


def depth(text, opening="{", closing="}"):
    return text.count(opening) - text.count(closing)


def items(lines):
    """Yield the comment, the declaration and the body of each declaration. Comments are lists of lines.

    The comment is None if the declaration shares the text of the declaration above.
    """
    comment, fresh, public, i = [], True, True, 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if not line.strip():
            comment, fresh = [], True
        elif found := COMMENT.match(line):
            if not found[1].startswith("clang-format"):
                comment = [*comment, found[1]]
        elif line.strip() in ("public:", "private:"):
            public = line.strip() == "public:"
        else:
            trailing = TRAILING.search(line)
            words = [TRAILING.sub("", line).strip()]
            while depth(" ".join(words)) or depth(" ".join(words), "(", ")") or not words[-1].endswith((";", "}")):
                words.append(TRAILING.sub("", lines[i]) if depth(" ".join(words)) == 0 else lines[i])
                i += 1
            # Keep the lines of a body apart, because they may have comments of their own.
            text = "\n".join(words)
            head, body = text, []
            if "{" in words[0] and len(words) > 1:
                head, body = words[0].rpartition("{")[0], words[1:-1]
            if public and trailing and trailing[1] != "internal":
                comment = [*comment, trailing[1]]
            if public and not (trailing and trailing[1] == "internal"):
                yield (comment if comment or fresh else None), " ".join(head.split()), body
            comment, fresh = [], trailing is not None  # a comment behind a declaration is for that declaration only


def role(words):
    """Escape the characters of a comment that reStructuredText would interpret. Names in backticks become code."""
    parts = re.split(r"`([^`]+)`", words)
    for i, part in enumerate(parts):
        parts[i] = f"``{part}``" if i % 2 else re.sub(r"([*|\\])|(?<=\w)(_)(?!\w)", r"\\\g<0>", part)
    return "".join(parts)


def paragraphs(comment):
    """Return a comment as reStructuredText. Code is indented by four spaces."""
    result, code = [], False
    for line in comment:
        if line.startswith("    "):
            if not code:
                result += ["", ".. code-block:: cpp", ""]
            result.append(INDENT + line[4:])
            code = True
        else:
            if code and line.strip():
                result.append("")
                code = False
            result.append(role(line) if not code else line)
    return result


def signature(declaration):
    """Return a declaration as the C++ domain of Sphinx accepts it, without body, initializer lists and `inline`."""
    text = re.sub(r"^inline ", "", declaration)
    if "(" in text:
        text = re.sub(r"\s*\{.*\}$", "", text)
    text = re.sub(r"(\w)\{[^}]*\}", r"\1", text.rstrip(";").strip())
    return text


def kind_of(declaration):
    if declaration.startswith("enum class"):
        return "enum-class", re.match(r"enum class (\w+)", declaration)[1]
    if found := re.match(r"(class|struct) (.*)", declaration):
        return found[1], found[2].strip()
    if declaration.startswith("using"):
        return "type", declaration.removeprefix("using ").rstrip(";")
    if "(" in declaration.partition("=")[0] or "operator" in declaration:
        return "function", signature(declaration)
    return "member", signature(declaration)


def enumerators(declaration, body):
    words = " ".join([declaration, *body]).partition("enum class")[2]
    return re.findall(r"\w+", words.rpartition("{")[2] if "{" in words else " ".join(body))


def rst(lines):
    """Return reStructuredText for the declarations in these lines."""
    result, last = [], None
    for comment, declaration, body in items(lines):
        if SKIPPED.match(declaration):
            continue
        kind, name = kind_of(declaration)
        if comment is None and kind == last == "function":
            # This function shares the text of the function above: add a signature to that directive.
            place = max(i for i, line in enumerate(result) if line.startswith(".. cpp:function::"))
            end = place + 1
            while end < len(result) and result[end].startswith(INDENT + " "):
                end += 1
            result.insert(end, " " * len(".. cpp:function:: ") + name)
            continue
        last = kind
        result += [f".. cpp:{kind}:: {name}", *[INDENT + ":no-contents-entry:"] * (kind == "member"), ""]
        result += [INDENT + line if line else "" for line in paragraphs(comment or [])] + [""]
        if kind == "enum-class":
            for value in enumerators(declaration, body):
                result += [f"{INDENT}.. cpp:enumerator:: {value}", f"{INDENT * 2}:no-contents-entry:", ""]
        elif kind in ("class", "struct"):
            result += [INDENT + line if line else "" for line in rst(body)]
    return result


def document(text):
    """Return reStructuredText for a header: the comment at its top, then its declarations."""
    return [*paragraphs(introduction(text)), "", ".. cpp:namespace:: pointwise", "", *rst(namespace_of(text))]
