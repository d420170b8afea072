"""Write what `pointwise bench --json` found as Markdown: the summary of each layout, then a row for every layer.

pointwise bench --vs numpy,torch --json found.json && python bench/markdown.py found.json
"""

import argparse
import json


def row(*cells):
    """Return the line of a table."""
    return "| " + " | ".join(cells) + " |"


def ratio(value):
    """Return how many times our time a contender needs; a dash where it cannot compute the layer."""
    return "-" if value is None else f"{value:.2f}"


def summary(layout, found):
    """Return the lines that sum up a layout."""
    rows = [row("against", "times as fast", "least", "on", "ahead on"), row(*["---"] * 5)]
    versus = dict(found["versus"])
    if found.get("best_peer"):
        versus["**the best of them, layer by layer**"] = found["best_peer"]
    for name, v in versus.items():
        if v["geometric_mean_ratio"] is None:
            continue
        least = v["minimum_layer"] + (f" ({v['minimum_contender']})" if name.startswith("**") else "")
        ahead = f"{v['at_least_as_fast']} of {v['layers']}"
        rows.append(row(name, ratio(v["geometric_mean_ratio"]), ratio(v["minimum_ratio"]), least, ahead))
    return [f"### {layout}", "", *rows, ""]


def layers(layout, results):
    """Return the table of a layout's layers."""
    contenders = list(results[0]["ratio"])
    rows = [
        row("network", "layer", "C_in -> C_out", "image", "MFLOP", "GFLOP/s", "of peak", *contenders),
        row(*["---"] * 3, *["--:"] * (4 + len(contenders))),
    ]
    for r in results:
        flops = r["cost"]["flops"]
        image = f"{r['h']}x{r['w']}" + (f" /{r['stride']}" if r["stride"] > 1 else "")
        rows.append(
            row(
                r["network"],
                r["layer"],
                f"{r['cin']} -> {r['cout']}",
                image if r["n"] == 1 else f"{r['n']}x{image}",
                f"{flops / 1e6:.3g}",
                f"{flops / r['seconds']['pointwise'] / 1e9:.0f}",
                f"{100 * r['peak_fraction']:.0f}%",
                *(ratio(r["ratio"][name]) for name in contenders),
            )
        )
    return [f"### {layout}, every layer", "", *rows, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", help="what pointwise bench --json wrote")
    parser.add_argument("--summary", action="store_true", help="without the layers")
    args = parser.parse_args()
    with open(args.json, encoding="utf-8") as file:
        found = json.load(file)
    lines = []
    for layout, of_layout in found["summary"].items():
        lines += summary(layout, of_layout)
        if not args.summary:
            lines += layers(layout, [r for r in found["results"] if r["layout"] == layout])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
