"""``pointwise bench``: times layers of real networks with pointwise, NumPy and frameworks in turn."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import shlex
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._conv import Conv
from .._quantized_arguments import check_activation
from .._runtime import cpu_name
from ..cli.files import check_writable, replacing
from ..cli.info import caches, version
from ..cli.parser import CommandError, distribution, library_errors, positive, require
from . import company, contention
from .backward import CONTENDERS as BACKWARD_CONTENDERS
from .cold import CACHES
from .contenders import CONTENDERS, FLOAT, MODULES, TUNED, US, left_out, peer_dtypes
from .contention_report import neighbour_document, neighbour_tables
from .dtypes import DTYPES, FLOAT32, QUANTIZED
from .dtypes import peak as dtype_peak
from .epilogue import ACTIVATIONS, NO_ACTIVATION, NONE, PRELU, RELU, Epilogue, parse_activation
from .explain import SEED, check_options, explain
from .layers import LAYOUTS, ON_REQUEST, default_networks, in_networks, networks, parse_layer, read_network, read_table
from .machine import blas_kernels, copy_bandwidth, fma_peak, last_level_cache
from .measure import COLD_FULL, COLD_QUICK, FULL, NETWORK_FULL, NETWORK_QUICK, QUICK, measure, measure_networks
from .processes import BLAS_VARIABLES
from .report import Machine, document, machine_line, network_document, summary_lines, versus_lines
from .report_tables import layer_tables, network_tables, sequence_table
from .roofline import save_roofline
from .tables import print_tables
from .verify import WrongResult

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from ..cli.parser import Commands
    from .layers import Case

SUMMARY = "time layers of real networks with pointwise, NumPy and frameworks"
EXAMPLE = """\
examples: pointwise bench --quick
          pointwise bench --layer 1x64x56x56:128 --layer 8x256x56x56:512/2 --no-bias
          pointwise bench --network resnet50 --layout NHWC --vs numpy,torch --json resnet50.json --plot resnet50.png"""
PASS_HELP = (
    "forward times layers; backward times their gradients dx (with respect to x) and dw (with respect to weight and "
    "bias), also with numpy and torch (default: forward)"
)
LAYER_HELP = (
    "a layer: images x input channels x height x width : output channels, as in 1x64x56x56:128; append /2 for stride 2 "
    "and g4 for 4 groups, as in 1x64x56x56:128/2g4; may be repeated"
)
NEIGHBOUR_HELP = (
    "time single calls while another process keeps a CPU busy, with one thread and with --threads; print means and "
    "99th percentiles; takes 3 s or more (with --quick 1 s) for each layer, layout and contender (default: a dozen "
    "layers, with --quick half of them)"
)
COMPANY_HELP = (
    "time pointwise together with a library that has threads in the same process: matrix products of NumPy in turn "
    "with convolutions and, if PyTorch is installed, MobileNetV2 with pointwise for its 1x1 layers (default: 2 threads)"
)
DTYPE_HELP = (
    f"one of {', '.join(DTYPES)} (default: float32); int8 means quantized layers with x of uint8, uint8 means weights "
    "of float32; layers of other dtypes than float32 are also compared with pointwise in float32"
)
COLD_HELP = "find x and weights in memory: before the calls, read three times as many bytes as the largest cache has"
SEQUENCE_HELP = "time the layers of each network one after the other, each with its own x and weights"
TUNE_HELP = "also time each layer after Conv.tune, and print what tuning gains; takes 0.3 s more for each layer"
MOST_THREADS = 1024  # libraries may abort the process if the system cannot start their threads
PICTURES = (".png", ".svg")
KERNEL_VARIABLES = (
    "POINTWISE_ISA",
    "POINTWISE_THREADING",
    "OPENBLAS_CORETYPE",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
)
COPY_EVERY = 10  # layers between two measurements of the copy bandwidth
PEERS = [name for name in CONTENDERS if name != US]
BACKWARD_PEERS = [name for name in BACKWARD_CONTENDERS if name != US]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("bench", help=SUMMARY, description=SUMMARY.capitalize() + ".", epilog=EXAMPLE)
    layers = parser.add_mutually_exclusive_group()
    network_help = f"one of {', '.join(networks())} (default: all but {' and '.join(ON_REQUEST)})"
    layers.add_argument("--network", metavar="NAME", help=network_help)
    layers.add_argument("--layers", metavar="FILE.csv", help="CSV: network,layer,n,cin,cout,h,w,stride,groups")
    layers.add_argument("--layer", type=parse_layer, action="append", metavar="L", help=LAYER_HELP)
    parser.add_argument("--layout", choices=(*LAYOUTS, "both"), default="both", help="layout of x, y (default: both)")
    threads_help = "threads of each contender (default: 1; with --neighbour or --company 2)"
    parser.add_argument("--threads", type=positive, metavar="N", help=threads_help)
    parser.add_argument("--batch", type=positive, metavar="N", help="images (default: as in the tables)")
    parser.add_argument("--pass", dest="direction", choices=("forward", "backward"), default="forward", help=PASS_HELP)
    parser.add_argument("--quick", action="store_true", help="finish within half a minute; less exact")
    parser.add_argument("--dtype", choices=DTYPES, default=FLOAT32, metavar="D", help=DTYPE_HELP)
    parser.add_argument("--vs", metavar="A,B", help=f"peers: {', '.join(PEERS)} (default: numpy)")
    activation_help = f"{', '.join((NONE, *ACTIVATIONS, PRELU))}; parameters as in clip,0,6 (default: relu)"
    parser.add_argument("--activation", type=parse_activation, metavar="A", help=activation_help)
    parser.add_argument("--residual", action="store_true", help="add a residual before the activation")
    parser.add_argument("--no-bias", action="store_true", help="compute layers without a bias")
    parser.add_argument("--neighbour", action="store_true", help=NEIGHBOUR_HELP)
    parser.add_argument("--company", action="store_true", help=COMPANY_HELP)
    parser.add_argument("--cold", action="store_true", help=COLD_HELP)
    parser.add_argument("--sequence", action="store_true", help=SEQUENCE_HELP)
    parser.add_argument("--tune", action="store_true", help=TUNE_HELP)
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a roofline, as PNG or SVG")
    words = f"compare the chosen kernels with all alternatives, also on random layers of SEED (default: {SEED})"
    parser.add_argument("--explain", type=positive, nargs="?", const=SEED, metavar="SEED", help=words)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    _check_modes(args)
    if args.company:
        company.check_arguments(args)
    check_options(args)
    backward = args.direction == "backward"
    if args.neighbour:
        contention.check_arguments(args.threads, args.plot)
    args.threads = args.threads or (2 if args.neighbour or args.company else 1)
    epilogue = Epilogue(args.activation or (NO_ACTIVATION if backward else RELU), args.residual, not args.no_bias)
    cases = [case.with_epilogue(epilogue).in_dtype(args.dtype) for case in _cases(args)]
    if backward:
        cases = [gradient for case in cases for gradient in case.gradients()]
    if args.cold:
        cases = [case.cold(CACHES * last_level_cache()) for case in cases]
    contenders = _contenders("numpy" if args.vs is None else args.vs, BACKWARD_PEERS if backward else PEERS)
    _check_epilogue(epilogue, args, contenders)
    _check_outputs(args)
    require("rich", "bench")
    if args.threads > MOST_THREADS:
        raise CommandError(f"--threads must be from 1 to {MOST_THREADS}, got {args.threads}")
    layouts = LAYOUTS if args.layout == "both" else (args.layout,)
    if args.explain is not None:
        with blas_threads(1, args.owns_process):
            return explain(args, cases, layouts, _progress_bar)

    compared = contenders if args.dtype == FLOAT32 else [*contenders, FLOAT]
    with blas_threads(args.threads, args.owns_process):
        peak = _peak(args)
        results, bandwidth = _measure(args, cases, layouts, compared)
        # Measured before and after the run: a disturbance or a low clock rarely affects both measurements.
        peak = max(peak, _peak(args))
    modules = [
        "numpy",
        *(["torch"] if args.company and version("torch") else []),
        *(module for name in contenders for module in MODULES.get(name, ())),
    ]
    modules += ["scipy"] if epilogue.activation.name == "gelu" and "numpy" in contenders else []
    versions = {US: _core.version, "python": platform.python_version(), **{m: version(m) or "unknown" for m in modules}}
    versions |= blas_kernels()  # the times of NumPy depend most on these kernels
    machine = Machine(cpu_name(), caches(), _core.isa, args.threads, peak, bandwidth, versions)
    _report(args, epilogue, results, compared, machine)
    return 0


def _peak(args: argparse.Namespace) -> float:
    return dtype_peak(args.dtype, lambda dtype: fma_peak(args.threads, dtype=dtype))


def _check_modes(args: argparse.Namespace) -> None:
    """Refuse combinations of options that measure in different ways."""
    modes = [name for name in ("cold", "sequence", "tune") if getattr(args, name)]
    others = [name for name in ("neighbour", "company") if getattr(args, name)]
    others += ["explain"] if args.explain is not None else []
    if modes and len(modes + others) > 1:
        first, second = (modes + others)[:2]
        raise CommandError(f"--{first} cannot be combined with --{second}: measure them one after the other")
    if args.direction == "backward":
        given = {"activation": args.activation is not None, "residual": args.residual, "dtype": args.dtype != FLOAT32}
        modes += [name for name, is_given in given.items() if is_given]
        if modes + others:
            option = (modes + others)[0]
            raise CommandError(f"--pass backward cannot be combined with --{option}: gradients are float32 here")
    if args.dtype != FLOAT32 and others:
        raise CommandError(f"--dtype cannot be combined with --{others[0]}, which measures float32")
    if args.dtype == QUANTIZED and args.tune:
        raise CommandError("--tune cannot be combined with --dtype int8: a QConv has no other kernels to measure")
    if args.dtype == QUANTIZED and args.residual:
        raise CommandError("--residual cannot be combined with --dtype int8: a QConv takes no residual")
    if args.dtype == "bfloat16":
        require("ml_dtypes", "--dtype bfloat16")
    if args.sequence and args.plot is not None:
        raise CommandError("--plot cannot be combined with --sequence, which has no roofline: use --json")


def _cases(args: argparse.Namespace) -> list[Case]:
    cases: list[Case]
    if args.layer is not None:
        cases = args.layer
    elif args.layers is not None:
        cases = read_table(pathlib.Path(args.layers), args.layers)
    elif args.neighbour and args.network is None:
        cases = contention.default_cases(args.quick)
    else:
        chosen = default_networks() if args.network is None else [args.network]
        cases = [case for name in chosen for case in read_network(name)]
    if not cases:
        raise CommandError("no layer tables are installed with the package: name one with --layers")
    if args.batch is not None:
        cases = [case.with_batch(args.batch) for case in cases]
        with library_errors():
            for case in cases:
                case.cost()  # raises for sizes beyond int64
    return cases


def _contenders(text: str, peers: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in peers:
            given = "" if peers is PEERS else " with --pass backward"
            raise CommandError(f"--vs{given} must be a comma-separated list of {', '.join(peers)}, got {text!r}")
        for module in MODULES.get(name, ()):
            if importlib.util.find_spec(module) is None:
                raise CommandError(
                    f"--vs {name} needs {module}, which is not installed: pip install {distribution(module)}"
                )
    return names


def _check_epilogue(epilogue: Epilogue, args: argparse.Namespace, contenders: Sequence[str]) -> None:
    """Refuse an epilogue that pointwise or a requested contender does not support."""
    for name in contenders:
        if args.dtype not in peer_dtypes(name) and args.vs is not None:
            has = ", ".join(peer_dtypes(name))
            raise CommandError(f"--vs {name} cannot compute --dtype {args.dtype}, only {has}")
        reason = left_out(name, epilogue.activation)
        # A default peer may be left out of a table. With --neighbour, all contenders must compute all layers.
        if reason is not None and (args.vs is not None or args.neighbour):
            raise CommandError(f"--vs {name} cannot compute --activation {epilogue.activation}{reason}")
    with library_errors():
        if args.dtype == QUANTIZED:
            check_activation(epilogue.activation.argument(np.zeros(1)))
        Conv(np.ones((1, 1), np.float32), activation=epilogue.activation.argument(np.zeros(1)))


def _check_outputs(args: argparse.Namespace) -> None:
    for path in (args.json, args.plot):
        if path is not None:
            check_writable(path)
    if args.plot is not None:
        if not args.plot.lower().endswith(PICTURES):
            raise CommandError(f"--plot must name a .png or .svg file, got {args.plot!r}")
        if args.json is not None and os.path.realpath(args.json) == os.path.realpath(args.plot):
            raise CommandError(f"--json and --plot must be different files, got {args.json!r} for both")
        require("matplotlib", "--plot")


@contextlib.contextmanager
def blas_threads(threads: int, owns_process: bool) -> Iterator[None]:
    """Set the number of threads of the BLAS of NumPy, for a ``with`` block.

    Parameters
    ----------
    threads : int
        Number of threads.
    owns_process : bool
        True if this process may be restarted. Without threadpoolctl a restart is needed: only environment variables
        work with every BLAS, and BLAS reads them when NumPy is imported.
    """
    try:
        control: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        wanted = dict.fromkeys(BLAS_VARIABLES, str(threads))
        if any(os.environ.get(name) != value for name, value in wanted.items()):
            if not owns_process:
                setting = f"{BLAS_VARIABLES[0]}={threads}"
                raise CommandError(
                    f"bench needs threadpoolctl, or {setting} and the same for MKL, BLIS and OMP before Python starts: "
                    "pip install 'pointwise[bench]'"
                ) from None
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
        yield
        return
    with control.threadpool_limits(threads):
        yield


def _measure(
    args: argparse.Namespace, cases: Sequence[Case], layouts: Sequence[str], contenders: Sequence[str]
) -> tuple[list[Any], float]:
    """Return the results and the copy bandwidth. The bandwidth is the best of several measurements during the run."""
    quick, full = (COLD_QUICK, COLD_FULL) if args.cold else (QUICK, FULL)
    effort = quick if args.quick else full
    sequences = in_networks(cases) if args.sequence else []
    bandwidths: list[float] = []
    layers = itertools.count()
    try:
        steps = len(layouts) * len(sequences or cases)
        total = company.steps(layouts, _company_schedule(args)) if args.company else steps
        with _progress_bar(total) as advance:

            def between(text: str) -> None:
                if next(layers) % COPY_EVERY == 0:
                    bandwidths.append(copy_bandwidth(args.threads))
                advance(text)

            if args.company:
                beside = list(company.measure(layouts, args.threads, _company_schedule(args), advance))
                return beside, copy_bandwidth(args.threads)
            if args.neighbour:
                schedule = contention.QUICK if args.quick else contention.FULL
                found = list(contention.measure(cases, layouts, contenders, args.threads, schedule, advance))
                return found, copy_bandwidth(args.threads)
            results: list[Any]
            if args.sequence:
                effort = NETWORK_QUICK if args.quick else NETWORK_FULL
                results = list(measure_networks(sequences, layouts, contenders, args.threads, effort, between))
            else:
                names = [TUNED, *contenders] if args.tune else contenders
                results = list(measure(cases, layouts, names, args.threads, effort, between))
    except WrongResult as error:
        raise CommandError(str(error), status=1) from error
    return results, max(*bandwidths, copy_bandwidth(args.threads))


def _company_schedule(args: argparse.Namespace) -> company.Schedule:
    return company.QUICK if args.quick else company.FULL


@contextlib.contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar if standard error is a terminal. Yield a function to call before each of `total` steps."""
    console = require("rich.console", "bench").Console(stderr=True, markup=False, highlight=False)
    module = require("rich.progress", "bench")
    columns = (module.BarColumn(), module.MofNCompleteColumn(), module.TimeElapsedColumn(), "{task.description}")
    # the bar is drawn only between layers, because a thread that draws would disturb the measurement
    bar = module.Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    )
    with bar:
        task = bar.add_task("", total=total)
        done = -1

        def advance(text: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, description=text, refresh=True)

        yield advance


def _origin() -> dict[str, str]:
    """Return the date, the build and the command, with the environment variables that select kernels."""
    variables = [f"{name}={os.environ[name]}" for name in KERNEL_VARIABLES if name in os.environ]
    command = ["pointwise", *sys.argv[1:]]
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join([*variables, shlex.join(command)]),
        "build": f"pointwise {_core.version}, compiler {_core.compiler}",
    }


def _report(
    args: argparse.Namespace, epilogue: Epilogue, results: list[Any], contenders: Sequence[str], machine: Machine
) -> None:
    settings = {
        "batch": args.batch,
        "quick": args.quick,
        "dtype": args.dtype,
        "bias": epilogue.bias,
        "activation": str(epilogue.activation),
        "residual": epilogue.residual,
        **({"pass": "backward"} if args.direction == "backward" else {}),
        **{mode: True for mode in ("cold", "sequence", "tune") if getattr(args, mode)},
    }
    if args.company:
        found = company.company_document(results, machine, settings)
    elif args.sequence:
        found = network_document(results, contenders, machine, settings)
    else:
        found = (neighbour_document if args.neighbour else document)(results, contenders, machine, settings)
    found["run"] = _origin()
    # files first: writing to standard output fails if its reader has ended
    if args.json is not None:
        with replacing(args.json) as file:
            file.write(json.dumps(found, indent=1, allow_nan=False).encode() + b"\n")
    if args.plot is not None:
        with replacing(args.plot) as file:
            save_roofline(file, results, machine, args.plot.lower()[-3:])

    lines: list[str] = []
    if args.company:
        tables = [company.company_table(results, machine.threads)]
    elif args.neighbour:
        tables = neighbour_tables(results, contenders, machine, found)
    elif args.sequence:
        tables = [sequence_table(results, contenders)]
        lines = [line for t, summary in found["summary"].items() for line in versus_lines(t, summary, "networks")]
    else:
        by_part = {part: [r for r in results if r.part == part] for part in found["summary"]}
        tables = [t for rows in by_part.values() for t in layer_tables(rows, contenders, machine)]
        tables += network_tables(results, contenders)
        lines = [line for part, summary in found["summary"].items() for line in summary_lines(part, summary)]
        reasons = {name: left_out(name, epilogue.activation) for name in contenders}
        lines += [f"{name} cannot compute {epilogue.activation}{reason}" for name, reason in reasons.items() if reason]
    print_tables(tables)
    for line in lines:
        print(line)
    print(machine_line(machine, args.dtype))
