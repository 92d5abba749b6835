"""Peers on the work of hydrogen-bench: peers.py polars|duckdb fused|words|reduce ROUNDS ARGUMENT, or
peers.py torch gelu|layer_norm|cross_entropy ROUNDS ROWS/COLUMNS.

Prints one line of JSON: {"version": ..., "milliseconds": [...]}, or {"missing": name} when it cannot be imported.
Two threads as the benchmarks, PyTorch one; one round is not counted. ARGUMENT: number of rows, or the file of `words`.
"""
import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "2"


def polars_work(work, argument):
    import polars as pl

    if work == "fused":
        n = int(argument)
        lazy = pl.LazyFrame().select(i=pl.int_range(0, n)).filter(pl.col("i") % 3 != 0).select((pl.col("i") * 2 + 1).sum())
        return pl.__version__, lambda: lazy.collect(engine="streaming")
    if work == "reduce":
        rows, keys = (int(x) for x in argument.split("/"))
        i = pl.int_range(0, rows, eager=True)
        table = pl.DataFrame({"k": (i.cast(pl.UInt64) * 2654435761 % keys).cast(pl.Int64), "v": i.cast(pl.Float64)})
        return pl.__version__, lambda: table.lazy().group_by("k").agg(pl.col("v").sum()).select(pl.col("v").sum()).collect(engine="streaming")
    lines = pl.scan_csv(argument, has_header=False, separator="\t", quote_char=None, new_columns=["l"])
    words = lines.select(pl.col("l").str.split(" ").explode()).filter(pl.col("l") != "")
    return pl.__version__, lambda: words.group_by("l").len().select(pl.len(), pl.col("len").sum().alias("n")).collect(engine="streaming")


def duckdb_work(work, argument):
    import duckdb

    d = duckdb.connect()
    d.execute("set threads=2")
    if work == "fused":
        return duckdb.__version__, lambda: d.execute(f"select sum(i*2+1) from range({int(argument)}) t(i) where i%3<>0").fetchall()
    if work == "reduce":
        rows, keys = (int(x) for x in argument.split("/"))
        d.execute(f"create table kv as select (i*2654435761)%{keys} as k, i::double as v from range({rows}) t(i)")
        return duckdb.__version__, lambda: d.execute("select sum(s) from (select k, sum(v) as s from kv group by k)").fetchall()
    file = argument.replace("'", "''")
    query = (
        "select count(*), sum(n) from (select w, count(*) as n from (select unnest(string_split(line,' ')) as w from "
        f"read_csv('{file}', columns={{'line':'varchar'}}, delim='\\t', quote='', escape='', header=false)) where w <> '' group by w)"
    )
    return duckdb.__version__, lambda: d.execute(query).fetchall()


def torch_work(work, argument):
    import ctypes

    import torch

    # Memory of one round is there for the next: what is measured are the operators, not page faults.
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_max = -1, -4
    libc.mallopt(m_trim_threshold, 1 << 30)
    libc.mallopt(m_mmap_max, 0)
    torch.set_num_threads(1)
    rows, columns = (int(x) for x in argument.split("/"))
    x = (torch.arange(rows * columns) * 2654435761 % 4001 / 1000.0 - 2).to(torch.float32).reshape(rows, columns)
    y = torch.empty_like(x)  # outputs are there before, as ours are
    if work == "gelu":
        return torch.__version__, lambda: torch._C._nn.gelu(x, out=y)
    if work == "layer_norm":
        weight, bias = torch.full((columns,), 1.5), torch.full((columns,), 0.5)
        return torch.__version__, lambda: torch.native_layer_norm(x, (columns,), weight, bias, 1e-5)
    labels = torch.arange(rows) * 7 % columns
    x.requires_grad_()

    def loss_and_gradient():
        loss = torch.nn.functional.cross_entropy(x, labels, reduction="sum")
        torch.autograd.grad(loss, x)

    return torch.__version__, loss_and_gradient


def main():
    peer, work, rounds, argument = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    try:
        version, body = {"polars": polars_work, "duckdb": duckdb_work, "torch": torch_work}[peer](work, argument)
    except ImportError:
        print(json.dumps({"missing": peer}))
        return
    times = []
    for i in range(rounds + 1):
        begin = time.perf_counter()
        body()
        if i > 0:
            times.append((time.perf_counter() - begin) * 1e3)
    print(json.dumps({"version": version, "milliseconds": times}))


main()
