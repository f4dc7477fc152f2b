"""Tables of results: on the screen, as JSON and as Markdown."""

import json
import pathlib


def text(rows, columns):
    """Columns are pairs of a title and a function of a row that gives a string."""
    cells = [[title for title, _ in columns]] + [[show(row) for _, show in columns]
                                                 for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in cells)


def markdown(rows, columns):
    lines = ["| " + " | ".join(title for title, _ in columns) + " |",
             "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(show(row).replace("|", "\\|") for _, show in columns) + " |"
              for row in rows]
    return "\n".join(lines)


def write(path, content):
    """Whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)


def write_json(path, value):
    write(path, json.dumps(value, indent=1) + "\n")
