"""A reader beside the writers: lists the directory again and again, and holds it to what every reader relies on.

What is under a data path is whole Parquet, stays as it is, and no row is there twice.

Where files may be merged, a look that finds other files at its end than at its beginning was no snapshot and says
nothing. Any other has every row that was ever seen, and has it once; twice is allowed where a store cannot do it in one
step, but not at the end.

Where the store may be away, a look that it does not answer says nothing; the last one it has to.
"""

import hashlib
import os
import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

import store
import tree as output

ORIGIN = {
    "rides": ["kafka_partition", "kafka_offset"],
    "fares": ["kafka_partition", "kafka_offset"],
    "invalid": ["topic", "partition", "offset"],
    "tips": ["window_start", "stop_nbhd"],
}


@dataclass
class File:
    kind: str
    state: tuple
    digest: bytes
    rows: list


class Watcher:
    def __init__(self, root, may_merge=False, may_overlap=False):
        self.root, self.may_merge, self.may_overlap = root, may_merge, may_overlap
        self.store = store.at(root)
        self.files = {}
        self.owners = {}  # (kind, row) → path
        self.ever = set()  # (kind, row)
        self.states = set()  # what files snapshots had
        self.looks = self.snapshots = self.overlaps = 0

    def look(self):
        """The faults of one look at the directory."""
        self.looks += 1
        tree = output.scan(self.root)
        faults = [f"{path} is not a data file" for path in tree.strangers]
        listed = {path: kind for kind, paths in tree.files.items() for path in paths}
        faults += self._gone(listed)
        for path, kind in listed.items():
            faults += self._seen(path, kind)
        if self.may_merge and output.scan(self.root).files == tree.files:
            self.snapshots += 1
            self.states.add(frozenset(listed))
            faults += self._snapshot()
        return faults

    def _gone(self, listed):
        gone = [path for path in self.files if path not in listed]
        for path in gone:
            file = self.files.pop(path)
            for row in file.rows:
                self.owners.pop((file.kind, row), None)
        return [] if self.may_merge else [f"{path} has disappeared" for path in gone]

    def _snapshot(self):
        owners, faults = {}, []
        for path, file in self.files.items():
            for row in file.rows:
                other = owners.setdefault((file.kind, row), path)
                if other != path:
                    faults.append(f"{file.kind} row {row} is in {other} and in {path}")
        if faults and self.may_overlap:
            self.overlaps += 1
            faults = []
        missing = self.ever - owners.keys()
        faults += [f"{kind} row {row} was there and is not" for kind, row in list(missing)[:3]]
        self.ever |= owners.keys()
        return faults[:3]

    def _seen(self, path, kind):
        known = self.files.get(path)
        try:
            state, data = self.store.read(path, known and known.state)
        except FileNotFoundError:
            return [] if self.may_merge else [f"{path} has disappeared"]
        if data is None:
            return []
        digest = hashlib.sha256(data).digest()
        if known:
            # Written again with the same bytes is no change.
            known.state = state
            return [] if known.digest == digest else [f"{path} has changed"]
        return self._read(path, kind, state, digest, data)

    def _read(self, path, kind, state, digest, data):
        try:
            table = pq.read_table(pa.BufferReader(data))
            rows = list(zip(*(table[name].to_pylist() for name in ORIGIN[kind])))
        except (pa.ArrowException, KeyError, OSError) as error:
            return [f"{path} ({len(data)} bytes) is not whole: {error}"]
        self.files[path] = File(kind, state, digest, rows)
        twice = []
        for row in rows if not self.may_merge else []:
            owner = self.owners.setdefault((kind, row), path)
            if owner != path:
                twice.append(f"{kind} row {row} is in {owner} and in {path}")
        if len(set(rows)) != len(rows):
            twice.append(f"{path} has a row twice")
        return twice[:3]


def run(arguments):
    watcher = Watcher(arguments.output, arguments.may_merge, arguments.may_overlap)
    while True:
        # One more look after the end.
        last = os.path.exists(arguments.until)
        if last:
            watcher.may_overlap = False
        try:
            faults = watcher.look()
        except store.Away as away:
            if not arguments.may_be_away:
                raise
            print(f"away: {away}", flush=True)
            time.sleep(arguments.interval)
            continue
        if faults:
            print("\n".join(faults))
            return 1
        if watcher.looks == 1:
            print("watching", flush=True)
        if last:
            rows = len(watcher.ever if watcher.may_merge else watcher.owners)
            merging = ""
            if watcher.may_merge:
                merging = f", {watcher.snapshots} snapshots, {len(watcher.states)} states, {watcher.overlaps} with rows twice"
            print(f"{watcher.looks} looks, {len(watcher.files)} files, {rows} rows{merging}")
            return 0
        time.sleep(arguments.interval)
