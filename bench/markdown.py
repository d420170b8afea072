"""Write the tables of README.md and docs/performance.md from the JSON files in bench/results.

    python bench/markdown.py            # writes them
    python bench/markdown.py --check    # exits with 1 if a table differs from its JSON file
    python bench/markdown.py --layers bench/results/one_thread.json    # prints every layer of a file

A table stands between two comments, which name its kind and its file:

    <!-- speed: one_thread.json -->
    <!-- end -->

"speed" has a row for each network and layout, "compare" the same with columns for several files, and "layers" a row for
each layer.

The files are made with ``pointwise bench --json``; docs/performance.md has the commands.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "performance.md")
TABLE = re.compile(r"(<!-- (?P<kind>\w+): (?P<files>[\w. ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NAMES = {"googlenet": "GoogLeNet", "mobilenet_v1": "MobileNetV1", "mobilenet_v2": "MobileNetV2"}
NAMES |= {"resnet50": "ResNet-50", "squeezenet": "SqueezeNet", "seed": "10x10x32 -> 16 and small"}


def row(*cells):
    """Return a line of a table."""
    return "| " + " | ".join(cells) + " |"


def mean(values):
    """Return the geometric mean."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def ratio(value):
    """Return a ratio as text, or a dash if a contender cannot compute the layer."""
    return "-" if value is None else f"{value:.2f}"


def best_peer(result):
    """Return the smallest ratio of a layer, which is the one to its fastest peer."""
    return min(value for value in result["ratio"].values() if value is not None)


def image_of(result):
    """Return the size of the image, the batch in front of it and the stride behind it."""
    image = f"{result['h']}x{result['w']}" + (f" /{result['stride']}" if result["stride"] > 1 else "")
    return image if result["n"] == 1 else f"{result['n']}x{image}"


def flops_per_second(result):
    """Return the speed of pointwise in FLOP/s."""
    return result["cost"]["flops"] / result["seconds"]["pointwise"]


def machine_words(found):
    """Return the CPU, the instruction set and the number of threads."""
    machine = found["machine"]
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return f"{machine['cpu']}, {machine['isa']}, {threads}"


def origin(found):
    """Return the lines that say where the figures come from."""
    machine, run = found["machine"], found["run"]
    peak, bandwidth = machine["fma_peak"] / 1e9, machine["bandwidth"] / 1e9
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name != "pointwise")
    words = (
        f"{run['date']}, {machine_words(found)}; FMA peak {peak:.0f} GFLOP/s, copy bandwidth {bandwidth:.0f} GB/s; "
        f"{run['build']}, {versions}."
    )
    return [*textwrap.wrap(words, 118), "", f"    {run['command']}"]


def slower(found):
    """Return a sentence for each layout about the layers on which a peer is faster."""
    lines = []
    for layout in dict.fromkeys(r["layout"] for r in found["results"]):
        results = [r for r in found["results"] if r["layout"] == layout]
        behind = [r for r in results if best_peer(r) < 1]
        sentence = f"{layout}: a peer is faster on {len(behind)} of {len(results)} layers"
        if behind:
            least = min(behind, key=best_peer)
            sentence += f"; the lowest ratio is {best_peer(least):.2f} ({least['network']} {least['layer']})"
        lines.append(sentence + ".")
    return lines


def networks(found):
    """Return a table with a row for each network and layout."""
    lines = [
        row("network", "layout", "layers", "GFLOP/s", "of FMA peak", "times NumPy (least)", "times best peer (least)"),
        row(*["---"] * 2, *["--:"] * 5),
    ]
    for network, layout in dict.fromkeys((r["network"], r["layout"]) for r in found["results"]):
        results = [r for r in found["results"] if (r["network"], r["layout"]) == (network, layout)]
        numpy, best = [r["ratio"]["numpy"] for r in results], [best_peer(r) for r in results]
        lines.append(
            row(
                NAMES.get(network, network),
                layout,
                str(len(results)),
                f"{mean(map(flops_per_second, results)) / 1e9:.0f}",
                f"{100 * mean(r['peak_fraction'] for r in results):.0f}%",
                f"{mean(numpy):.2f} ({min(numpy):.2f})",
                f"{mean(best):.2f} ({min(best):.2f})",
            )
        )
    return lines


def layers(found):
    """Return a table with a row for each layer."""
    contenders = list(found["results"][0]["ratio"])
    lines = [
        row("layer", "image", "layout", "GFLOP/s", "of FMA peak", *(f"times {name}" for name in contenders)),
        row(*["---"] * 3, *["--:"] * (2 + len(contenders))),
    ]
    for r in found["results"]:
        lines.append(
            row(
                r["layer"] if "->" in r["layer"] else f"{r['network']} {r['layer']}, {r['cin']} -> {r['cout']}",
                image_of(r),
                r["layout"],
                f"{flops_per_second(r) / 1e9:.1f}",
                f"{100 * r['peak_fraction']:.0f}%",
                *(ratio(r["ratio"][name]) for name in contenders),
            )
        )
    return lines


def speed_block(found):
    """Return the table of the README, with its machine."""
    words = (
        f"{found['run']['date']}, {machine_words(found)}, FMA peak {found['machine']['fma_peak'] / 1e9:.0f} GFLOP/s."
    )
    return [*networks(found), "", *textwrap.wrap(" ".join([words, *slower(found)]), 120)]


def compare_block(*documents):
    """Return a table with the ratios of several files, the layers that are slower, and the origins."""
    heads = [f"{d['machine']['isa']}, {d['machine']['threads']} thread" for d in documents]
    heads = [head + "s" * (d["machine"]["threads"] > 1) for head, d in zip(heads, documents, strict=True)]
    columns = [f"{head}: of peak, times NumPy, times best peer (least)" for head in heads]
    lines = [row("network", "layout", *columns), row(*["---"] * 2, *["--:"] * len(documents))]
    for network, layout in dict.fromkeys((r["network"], r["layout"]) for r in documents[0]["results"]):
        cells = []
        for found in documents:
            results = [r for r in found["results"] if (r["network"], r["layout"]) == (network, layout)]
            best = [best_peer(r) for r in results]
            peak = 100 * mean(r["peak_fraction"] for r in results)
            numpy = mean(r["ratio"]["numpy"] for r in results)
            cells.append(f"{peak:.0f}%, {numpy:.2f}, {mean(best):.2f} ({min(best):.2f})")
        lines.append(row(NAMES.get(network, network), layout, *cells))
    for head, found in zip(heads, documents, strict=True):
        words = f"- {head}: {' '.join(slower(found))}"
        lines += ["", *textwrap.wrap(words, 120, subsequent_indent="  "), "", *indented(origin(found))]
    return lines


def indented(lines):
    """Return lines as a part of a list item."""
    return [f"  {line}" if line else "" for line in lines]


def layers_block(found):
    """Return the table of layers and the origin."""
    return [*layers(found), "", *origin(found)]


KINDS = {"speed": speed_block, "compare": compare_block, "layers": layers_block}


def read(name):
    """Return what a file of bench/results holds."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def filled(text):
    """Return a document with its tables as the files have them."""

    def table(match):
        documents = [read(name) for name in match["files"].split()]
        return match[1] + "\n".join(["", *KINDS[match["kind"]](*documents), "", match[4]])

    return TABLE.sub(table, text)


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a table differs")
    parser.add_argument("--layers", metavar="FILE", help="print the table of every layer of a file")
    args = parser.parse_args()
    if args.layers:
        print("\n".join(layers(json.loads(pathlib.Path(args.layers).read_text(encoding="utf-8")))))
        return
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        new = filled(text)
        if args.check and new != text:
            sys.exit(f"{document.relative_to(ROOT)}: a table differs from bench/results: python bench/markdown.py")
        if new != text:
            document.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
