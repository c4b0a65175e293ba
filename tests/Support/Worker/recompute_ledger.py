"""Recomputes the books from the raw rows, sharing nothing with the service: neither its code, nor its database's functions.

    python3 recompute_ledger.py FOLDER

FOLDER holds workers.csv, pool_prices.csv, ledger.csv, batches.csv, results.csv and turns.csv, each with a header (COPY ... TO STDOUT CSV HEADER).
Prints what each account comes to, and "difference 0" when for every worker: the intervals tile its life from 0 to accounted_ns without
gap or overlap, each one's accounts sum to its length and to its price, tasks + padding + idle + warm-up + waste = accounted time x price;
and over all of them: the tasks' account is what the results cost, earlier turns included, and the turns of tasks that have not ended; and the batches cost tasks + padding + what ran twice.
Ends with 1 and says what differs otherwise. All numbers are integers: pico-USD and nanoseconds.
"""

import csv
import datetime
import pathlib
import sys
from collections import Counter, defaultdict

NS_PER_HOUR = 3_600_000_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def rows(folder, name):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def microseconds(text):
    """PostgreSQL's time to whole microseconds since 1970: 2026-01-31 10:20:30.123456+00."""
    text = text if ":" in text[-6:] and text[-6] in "+-" else text + ":00"
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)


def steps_of(worker, prices):
    """(from ns, price an hour) of the worker's clock: the pool's prices, and before the first of them the worker's own."""
    started = microseconds(worker["started_at"])
    steps = [(0, int(worker["price_per_hour_pico"]))]
    for valid_from, price in sorted(prices[worker["pool"]]):
        if valid_from <= started:
            steps = [(0, price)]
        else:
            steps.append(((valid_from - started) * 1000, price))
    return steps


def cost(steps, from_ns, to_ns):
    total = 0
    for i, (start, price) in enumerate(steps):
        end = steps[i + 1][0] if i + 1 < len(steps) else to_ns
        a, b = max(start, from_ns), min(end, to_ns)
        if a < b:
            total += b * price // NS_PER_HOUR - a * price // NS_PER_HOUR
    return total


def main(folder):
    prices = defaultdict(list)
    for row in rows(folder, "pool_prices"):
        prices[row["pool"]].append((microseconds(row["valid_from"]), int(row["price_per_hour_pico"])))

    intervals = defaultdict(Counter)
    accounts = Counter()
    for row in rows(folder, "ledger"):
        interval = intervals[row["worker"], int(row["from_ns"]), int(row["to_ns"])]
        interval["ns"] += int(row["ns"])
        interval["pico"] += int(row["pico"])
        accounts[row["account"]] += int(row["pico"])
        accounts[row["account"], row["detail"]] += int(row["pico"])

    chains = defaultdict(list)
    for (worker, from_ns, to_ns), sums in intervals.items():
        chains[worker].append((from_ns, to_ns, sums))

    wrong, expected = [], 0
    for worker in rows(folder, "workers"):
        name, steps, reached, pico = worker["id"], steps_of(worker, prices), 0, 0
        for from_ns, to_ns, sums in sorted(chains.pop(name, []), key=lambda interval: interval[:2]):
            if from_ns != reached:
                wrong.append(f"worker {name}: an interval begins at {from_ns} ns, the one before ended at {reached} ns")
            if sums["ns"] != to_ns - from_ns:
                wrong.append(f"worker {name}: {from_ns} to {to_ns} ns is booked as {sums['ns']} ns")
            if sums["pico"] != cost(steps, from_ns, to_ns):
                wrong.append(f"worker {name}: {from_ns} to {to_ns} ns costs {cost(steps, from_ns, to_ns)}, booked {sums['pico']}")
            reached, pico = to_ns, pico + sums["pico"]
        life = cost(steps, 0, int(worker["accounted_ns"]))
        expected += life
        if reached != int(worker["accounted_ns"]) or pico != life:
            wrong.append(f"worker {name}: accounted {worker['accounted_ns']} ns at {life}, booked {reached} ns at {pico}")
    wrong += [f"worker {name} has intervals and no row" for name in chains]

    ended, results = set(), 0
    for row in rows(folder, "results"):
        ended.add((row["job"], row["seq"]))
        results += int(row["cost_pico"])
    results += sum(int(row["cost_pico"]) for row in rows(folder, "turns") if (row["job"], row["seq"]) not in ended)
    batches = sum(int(row["cost_pico"]) for row in rows(folder, "batches"))
    ran = accounts["task"] + accounts["padding"] + accounts["waste", "duplicate"]
    if results != accounts["task"]:
        wrong.append(f"results cost {results}, the tasks' account has {accounts['task']}")
    if batches != ran:
        wrong.append(f"batches cost {batches}, tasks, padding and what ran twice {ran}")

    names = ("task", "padding", "idle", "warm_up", "waste")
    booked = sum(accounts[name] for name in names)
    for name in names:
        print(f"{name:8} {accounts[name]:>24}")
    print(f"of waste, lost {accounts['waste', 'lost']:>18}")
    print(f"difference {booked - expected}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong or booked != expected else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
