"""Unmix a cube in a Zarr store on a Dask cluster. The cube may be larger than the memory of the workers."""

import argparse
import tempfile
import time

import dask.array as da
import numpy as np
import pointwise as pw
import xarray as xr
import zarr
from distributed import Client


def with_map_blocks(matrix, source, target):
    """Apply a matrix to the bands of a Zarr store (bands, lines, samples). A chunk has all bands of its pixels."""
    cube = da.from_zarr(source)
    layer = pw.Conv(matrix, layout="CHW")
    cube.map_blocks(layer, dtype=cube.dtype, chunks=(len(matrix), *cube.chunks[1:])).to_zarr(target)


def with_apply_ufunc(matrix, source, target):
    """Apply a matrix to an array whose axes have names. xarray moves the bands to the last axis: layout "HWC"."""
    cube = xr.DataArray(da.from_zarr(source), dims=("band", "line", "sample"))
    layer = pw.Conv(matrix, layout="HWC")
    maps = xr.apply_ufunc(
        layer,
        cube,
        input_core_dims=[["band"]],
        output_core_dims=[["map"]],
        dask="parallelized",
        output_dtypes=[cube.dtype],
        dask_gufunc_kwargs={"output_sizes": {"map": len(matrix)}},
    )
    maps.transpose("map", "line", "sample").data.to_zarr(target)


def make_cube(spectra, size, chunk, target):
    """Write a cube of four materials in waves."""

    def waves(block_info):
        (y0, y1), (x0, x1) = block_info[None]["array-location"][1:]
        y, x = np.ogrid[y0:y1, x0:x1]
        amounts = np.stack([1 + np.cos((x + 3 * k * y) / 90) for k in range(4)])
        return np.tensordot(spectra, amounts.astype(np.float32), 1)

    parts = da.core.normalize_chunks((-1, chunk, chunk), (len(spectra), size, size))
    da.map_blocks(waves, chunks=parts, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)).to_zarr(target)


def plot(maps, path):
    """Draw the maps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, values in zip(figure.subplots(1, 4), maps, strict=True):
        axes.imshow(values[:400, :400])
        axes.set(xticks=[], yticks=[])
    figure.savefig(path)


def sent(dask_worker):
    """Return the number of bytes that a worker has sent to other workers."""
    return dask_worker.transfer_outgoing_bytes_total


def measure(client, way, matrix, source, target):
    """Run one way, print its traffic, and return its time."""
    before, start = sum(client.run(sent).values()), time.perf_counter()
    way(matrix, source, target)
    seconds = time.perf_counter() - start
    between = sum(client.run(sent).values()) - before
    sizes = zarr.open_array(source).nbytes, zarr.open_array(target).nbytes, between
    print("{}: read {:,} bytes, wrote {:,}, moved {:,} between workers".format(way.__name__, *sizes))
    return seconds


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="lines, and samples of each line")
    parser.add_argument("--chunk", type=int, default=256, help="lines of a chunk, and samples of each line")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers to compare")
    parser.add_argument("--memory", default="400 MB", help="memory limit of each worker")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="use this cluster. Its workers must reach --folder")
    parser.add_argument("--folder", help="folder for the Zarr stores (default: a temporary folder)")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    local = dict(threads_per_worker=1, memory_limit=args.memory, dashboard_address=None)  # of a new LocalCluster
    clusters = [dict(n_workers=n, **local) for n in args.workers]
    spectra = np.random.default_rng(8).random((100, 4), np.float32)
    matrix, first = np.linalg.pinv(spectra), {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source = f"{folder}/cube.zarr"
        for options in [dict(address=args.scheduler)] if args.scheduler else clusters:
            with Client(**options) as client:
                if not first:
                    make_cube(spectra, args.size, args.chunk, source)
                threads = list(client.run(pw.get_num_threads).values())
                print(f"workers: {len(threads)}, threads of pointwise in each: {max(threads)}")
                for way in (with_map_blocks, with_apply_ufunc):
                    target = f"{folder}/{way.__name__}_{len(threads)}.zarr"
                    seconds = measure(client, way, matrix, source, target)
                    print(f"    {seconds:.2f} s, scaling {first.setdefault(way, seconds) / seconds:.2f}")
                    cube, maps = zarr.open_array(source), zarr.open_array(target)
                    for i in range(0, args.size, args.chunk):  # NumPy checks the chunks of the diagonal
                        part = np.s_[:, i : i + args.chunk, i : i + args.chunk]
                        np.testing.assert_allclose(maps[part], np.tensordot(matrix, cube[part], 1), atol=1e-4)
        print("equal to NumPy within 1e-4")
        if args.plot:
            plot(maps, args.plot)


if __name__ == "__main__":
    main()
