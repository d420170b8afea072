"""Write the tables of the documents, which are generated from the JSON files in bench/results.

    python bench/markdown.py            # writes them
    python bench/markdown.py --check    # exits with 1 if a table differs from its JSON file
    python bench/markdown.py --layers bench/results/one_thread.json    # prints every layer of a file

The text between two comments is generated. The first comment names the kind of the text and its JSON files:

    <!-- speed: one_thread.json -->
    <!-- end -->

- "speed": a table with a row for each network and layout. The comment names exactly one file.
- "compare": a table like "speed" for each file, with the versions and the command.
- "slower": a table of the layers on which a peer is faster, with a column for each file.
- "layers": a table with a row for each layer. The comment names exactly one file.
- "sequence": for each file, a table with a row for each network and layout. The layers of a network run in sequence.
- "tuned": a table of the gain by tuning, with a row for each network and layout. The comment names exactly one file.
- "images": a table with a row for each dtype of x, dtype of the result and size. The comment names exactly one file.
- "inception": a table with a row for each inception module. The comment names exactly one file.
- "dtypes": a table with a row for each dtype: speed relative to float32, and error. The comment names exactly one file.

``pointwise bench --json`` makes the files. But ``bench/images.py --json`` makes those of images,
``bench/inception.py --json`` makes those of inception modules, and ``bench/dtypes.py --json`` makes those of dtypes.
The generated text has the command for each file.
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
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "performance.md",
    ROOT / "docs" / "why.md",
    ROOT / "docs" / "guide" / "dtypes.md",
)
TABLE = re.compile(r"(<!-- (?P<kind>\w+): (?P<files>[\w. ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NAMES = {"googlenet": "GoogLeNet", "mobilenet_v1": "MobileNetV1", "mobilenet_v2": "MobileNetV2"}
NAMES |= {"resnet50": "ResNet-50", "squeezenet": "SqueezeNet", "seed": "three tiny layers"}

PEERS = {"numpy": "NumPy", "torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
PEERS |= {"xnnpack": "XNNPACK", "opencv": "OpenCV"}
OWN = "pointwise float32"  # contender that is no peer
NAMES_OF_DTYPES = {"uint8": "uint8 x, float32 weights", "int8": "`QConv`: uint8 x, int8 weights"}


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
    """Return the time of the fastest peer, divided by the time of pointwise. NumPy is a peer, too."""
    return min(value for name, value in result["ratio"].items() if value is not None and name != OWN)


def name_of_best_peer(result):
    """Return the name of the fastest peer on a layer."""
    ratios = result["ratio"].items()
    return PEERS[min((value, name) for name, value in ratios if value is not None and name != OWN)[1]]


def image_of(result):
    """Return the image as text, such as "8x56x56 /2" for a batch of 8 and stride 2."""
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
    """Return lines with the date, the CPU, the versions and the command."""
    machine, run = found["machine"], found["run"]
    limits = []
    if "fma_peak" in machine:
        limits.append(f"FMA peak {machine['fma_peak'] / 1e9:.0f} GFLOP/s")
    if "bandwidth" in machine:
        limits.append(f"copy bandwidth {machine['bandwidth'] / 1e9:.0f} GB/s")
    found_versions = {name: version for name, version in machine["versions"].items() if name != "pointwise"}
    kernels = found_versions.pop("openblas", None)
    versions = ", ".join(f"{name} {version}" for name, version in found_versions.items())
    versions += f", OpenBLAS with its kernels for {kernels}" if kernels else ""
    build = re.sub(r"compiler (?=\d)", "g++ ", run["build"])  # clang puts its name in front of its version
    words = "; ".join([f"{run['date']}, {machine_words(found)}", *filter(None, [", ".join(limits)]), build])
    words += f", {versions}."
    return [*textwrap.wrap(words, 118), "", f"    {run['command']}"]


def counts(found):
    """Return a sentence for each layout with the number of layers on which a peer is faster."""
    lines = []
    for layout in dict.fromkeys(r["layout"] for r in found["results"]):
        results = [r for r in found["results"] if r["layout"] == layout]
        behind = [r for r in results if best_peer(r) < 1]
        who = f"a peer is faster on {len(behind)} of" if behind else "no peer is faster on any of the"
        lines.append(f"In {layout} {who} {len(results)} layers.")
    return lines


def heading(found):
    """Return the instruction set, the number of threads, and whether x and weights come from memory."""
    threads = found["machine"]["threads"]
    cold = ", cold" if found["settings"].get("cold") else ""
    return f"{found['machine']['isa']}, {threads} thread" + "s" * (threads > 1) + cold


def networks(found):
    """Return a table with a row for each network and layout."""
    lines = [
        row("network", "layout", "layers", "GFLOP/s", "of peak", "times NumPy", "least", "times best peer", "least"),
        row(*["---"] * 2, *["--:"] * 7),
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
                f"{mean(numpy):.2f}",
                f"{min(numpy):.2f}",
                f"{mean(best):.2f}",
                f"{min(best):.2f}",
            )
        )
    return lines


def layers(found):
    """Return a table with a row for each layer."""
    contenders = list(found["results"][0]["ratio"])
    lines = [
        row(
            "layer", "image", "layout", "GFLOP/s", "of peak", *(f"times {PEERS.get(name, name)}" for name in contenders)
        ),
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
    """Return the table of the README, with the CPU and the number of slower layers."""
    words = f"{found['run']['date']}, {machine_words(found)}."
    return [*networks(found), "", *textwrap.wrap(" ".join([words, *counts(found)]), 120)]


def compare_block(*documents):
    """Return a table for each file, with the number of slower layers and the origin."""
    lines = []
    for found in documents:
        peers = dict.fromkeys(PEERS[name] for r in found["results"] for name in r["ratio"])
        words = f"**{heading(found)}.** Peers: {', '.join(peers)}. {' '.join(counts(found))}"
        lines += [*textwrap.wrap(words, 120), "", *networks(found), "", *origin(found), ""]
    return lines[:-1]


def slower_block(*documents):
    """Return a table of the layers on which a peer is faster in at least one file."""

    def key(r):
        return (r["network"], r["layer"], r["layout"])

    found = [{key(r): r for r in document["results"]} for document in documents]
    lines = [
        row("layer", "channels", "image", "layout", *map(heading, documents)),
        row(*["---"] * 4, *["--:"] * len(documents)),
    ]
    for name, r in found[0].items():
        results = [f.get(name) for f in found]
        if all(result is None or best_peer(result) >= 1 for result in results):
            continue
        cells = []
        for result in results:
            cell = "-" if result is None else f"{best_peer(result):.2f}"
            behind = result is not None and best_peer(result) < 1
            cells.append(f"{cell} {name_of_best_peer(result)}" if behind else cell)
        title = f"{NAMES.get(r['network'], r['network'])} {r['layer']}"
        lines.append(row(title, f"{r['cin']} -> {r['cout']}", image_of(r), r["layout"], *cells))
    return lines


def layers_block(found):
    """Return the table of layers and the origin."""
    return [*layers(found), "", *origin(found)]


def sequences(found):
    """Return a table with a row for each network and layout."""
    peers = dict.fromkeys(name for r in found["results"] for name in r["ratio"])
    lines = [
        row("network", "layout", "layers", "ms", "GFLOP/s", *(f"times {PEERS[name]}" for name in peers), "times best"),
        row(*["---"] * 2, *["--:"] * (4 + len(peers))),
    ]
    for r in found["results"]:
        figures = (str(r["layers"]), f"{1e3 * r['seconds']['pointwise']:.2f}", f"{flops_per_second(r) / 1e9:.0f}")
        ratios = (ratio(r["ratio"][name]) for name in peers)
        lines.append(row(NAMES.get(r["network"], r["network"]), r["layout"], *figures, *ratios, f"{best_peer(r):.2f}"))
    return lines


def sequence_block(*documents):
    """Return a table of networks for each file, with the means and the origin."""
    lines = []
    for found in documents:
        means = []
        for layout in dict.fromkeys(r["layout"] for r in found["results"]):
            best = [best_peer(r) for r in found["results"] if r["layout"] == layout]
            means.append(
                f"In {layout} the geometric mean over the best peer is {mean(best):.2f}, the least {min(best):.2f}."
            )
        words = f"**{heading(found)}, in sequence.** {' '.join(means)}"
        lines += [*textwrap.wrap(words, 120), "", *sequences(found), "", *origin(found), ""]
    return lines[:-1]


def tuned_block(found):
    """Return a table with a row for each network and layout, and the origin."""
    lines = [row("network", "layout", "layers", "changed", "gain", "most"), row(*["---"] * 2, *["--:"] * 4)]
    for network, layout in dict.fromkeys((r["network"], r["layout"]) for r in found["results"]):
        results = [r for r in found["results"] if (r["network"], r["layout"]) == (network, layout)]
        gains = [r["gain"] for r in results]
        changed = sum("tuned" in r["forms"] for r in results)
        figures = (str(len(results)), str(changed), f"{mean(gains):.3f}", f"{max(gains):.2f}")
        lines.append(row(NAMES.get(network, network), layout, *figures))
    return [*lines, "", *origin(found)]


def images_block(found):
    """Return a table with a row for each pair of dtypes and each size, and the origin."""
    peers = dict.fromkeys(name for r in found["results"] for name in r["ratio"])
    lines = [
        row("from", "to", "image", "GB/s", *(cell for name in peers for cell in (f"times {PEERS[name]}", "least"))),
        row(*["---"] * 3, *["--:"] * (1 + 2 * len(peers))),
    ]
    for key in dict.fromkeys((r["x_dtype"], r["dtype"], r["height"], r["width"]) for r in found["results"]):
        results = [r for r in found["results"] if (r["x_dtype"], r["dtype"], r["height"], r["width"]) == key]
        cells = []
        for name in peers:
            ratios = [(r["ratio"][name], f"{r['cin']} -> {r['cout']}") for r in results if name in r["ratio"]]
            least, channels = min(ratios, default=(None, ""))
            cells += [f"{mean(value for value, _ in ratios):.2f}", f"{least:.2f} ({channels})"] if ratios else ["-"] * 2
        speed = mean(r["bytes_per_second"] for r in results) / 1e9
        lines.append(row(key[0], key[1], f"{key[2]}x{key[3]}", f"{speed:.1f}", *cells))
    return [*lines, "", *origin(found)]


def inception_block(found):
    """Return a table with a row for each inception module, and the origin. Each time is that of the faster layout."""
    lines = [
        row("module", "image", "channels", "5x5 alone", "1x1", "1x1, then 5x5", "speedup"),
        row(*["---"] * 3, *["--:"] * 4),
    ]
    for r in found["results"]:
        layouts = r["seconds"].values()
        alone, first, both = (min(times[name] for times in layouts) for name in ("5x5", "1x1", "1x1 then 5x5"))
        times = (f"{1e6 * seconds:.0f} us" for seconds in (alone, first, both))
        channels = f"{r['cin']} -> {r['reduced']} -> {r['cout']}"
        lines.append(row(r["module"], f"{r['h']}x{r['w']}", channels, *times, f"{alone / both:.1f}"))
    return [*lines, "", *origin(found)]


def dtypes_block(found):
    """Return a table with a row for each dtype, and the origin. Each cell has a geometric mean and the least ratio."""
    kinds = list(dict.fromkeys((r["isa"], r["kind"]) for r in found["results"]))
    lines = [
        row("dtype", *(f"{kind}, {isa}" for isa, kind in kinds), "error"),
        row("---", *["--:"] * (len(kinds) + 1)),
    ]
    for dtype in dict.fromkeys(r["dtype"] for r in found["results"]):
        cells = []
        for kind in kinds:
            ratios = [r["ratio"][OWN] for r in found["results"] if (r["isa"], r["kind"], r["dtype"]) == (*kind, dtype)]
            cells.append("1" if dtype == "float32" else f"{mean(ratios):.2f} ({min(ratios):.2f})")
        error = max(errors["decibels"][dtype] for errors in found["errors"])
        lines.append(row(NAMES_OF_DTYPES.get(dtype, dtype), *cells, f"{error:.0f} dB"))
    return [*lines, "", *origin(found)]


KINDS = {
    "speed": speed_block,
    "compare": compare_block,
    "slower": slower_block,
    "layers": layers_block,
    "sequence": sequence_block,
    "tuned": tuned_block,
    "images": images_block,
    "inception": inception_block,
    "dtypes": dtypes_block,
}


def read(name):
    """Return the content of a JSON file in bench/results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def filled(text):
    """Return the text of a document, with the generated text made again from the JSON files."""

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
            sys.exit(f"{document.relative_to(ROOT)}: a table differs from bench/results; run python bench/markdown.py")
        if new != text:
            document.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
