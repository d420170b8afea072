"""Parameters, multiply-adds and measured time of the 5x5 branch of module 3a, with and without the 1x1 layer."""

import json

import matplotlib.pyplot as plt
import pointwise as pw
from drawing import BLUE, ORANGE, ROOT, WIDTH, bars

found = json.loads((ROOT / "bench/results/inception.json").read_text(encoding="utf-8"))
(module,) = (r for r in found["results"] if r["module"] == "3a")
image = module["h"], module["w"]
reduce = pw.cost((1, module["cin"], *image), module["reduced"])
after = pw.cost((1, module["reduced"], *image), module["cout"])  # 25 times this, for the pixels of a 5x5 kernel
alone = pw.cost((1, module["cin"], *image), module["cout"])
fastest = {key: min(times[key] for times in module["seconds"].values()) for key in ("5x5", "1x1 then 5x5")}

figure, (params, macs, times) = plt.subplots(3, 1, figsize=(WIDTH, 3.6), layout="constrained")
names, colours = ("5x5 alone", "1x1, then 5x5"), (ORANGE, BLUE)
bars(params, names, (25 * alone.params, reduce.params + 25 * after.params), colours, lambda value: f"{value:,}")
macs_found = (25 * alone.macs / 1e6, (reduce.macs + 25 * after.macs) / 1e6)
bars(macs, names, macs_found, colours, lambda value: f"{value:.1f} million")
bars(times, names, [1e6 * value for value in fastest.values()], colours, lambda value: f"{value:.0f} us")
params.set_title("parameters", fontsize=9, loc="left")
macs.set_title("multiply-adds", fontsize=9, loc="left")
times.set_title("measured: 1x1 by pointwise, 5x5 by PyTorch", fontsize=9, loc="left")
