"""A transform with a ledger in memory: packs in, settled batches out."""

import ingest_town as town
import pyarrow as pa

from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Settled, Transform
from lichtmast.store.port import Outcome, PackKey
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON, Enclosed, enclose
from lichtmast.wire.topics import COAP_DOOR_SUBJECT

NOW_US = town.NOW_US
EXISTING = pa.schema(
    [
        ("datastream_id", pa.int32()),
        ("phenomenon_time", pa.int64()),
        ("result", pa.float64()),
        ("result_text", pa.string()),
    ]
)
NONE_KNOWN: pa.Table = EXISTING.empty_table()


class Bench:
    """A transform with a ledger in memory that answers as the store would."""

    def __init__(self, roster: Roster) -> None:
        self.transform = Transform(roster, Sequences())
        self.ledger: dict[PackKey, int] = {}
        self.times: dict[tuple[int, int], float | None] = {}
        self.position = 0

    def feed(self, *packs: tuple[str, bytes], transport: str = "mqtt") -> Settled:
        """Packs as one fetch; each is (device, bytes)."""
        messages = []
        if transport == "coap":
            self.position += 1
            enclosed = [Enclosed(f"gm0402/{name}", NOW_US, _format(raw), raw) for name, raw in packs]
            messages.append(town.LogMessage(COAP_DOOR_SUBJECT, enclose(enclosed), self.position))
        else:
            for name, raw in packs:
                self.position += 1
                messages.append(town.LogMessage(f"lm.gm0402.{name}.up", raw, self.position))
        prepared = self.transform.prepare(collect(messages, self.transform.roster))
        known = {key: self.ledger[key] for key in prepared.doubtful_keys() if key in self.ledger}
        wanted = prepared.loose_keys()
        pairs = list(zip(wanted.column(0).to_pylist(), wanted.column(1).to_pylist(), strict=True))
        there = [(*pair, self.times[pair], None) for pair in pairs if pair in self.times]
        existing = pa.table([list(column) for column in zip(*there, strict=True)] or [[]] * 4, schema=EXISTING)
        settled = self.transform.settle(prepared, known, existing, "READINGS")
        for row in settled.batch.ledger.to_pylist():
            if row["seq"] is not None and row["outcome"] != Outcome.DUPLICATE:
                key = PackKey(row["device"], row["epoch"], row["seq"])
                assert key not in self.ledger, "a pack entered the ledger twice"
                self.ledger[key] = row["digest"]
        rows = settled.batch.observations
        columns = (rows.column(name).to_pylist() for name in ("datastream_id", "phenomenon_time", "result"))
        self.times |= {(one, time_us): result for one, time_us, result in zip(*columns, strict=True)}
        return settled


def _format(raw: bytes) -> int:
    return SENML_JSON if raw[:1] == b"[" else SENML_CBOR


def outcomes(settled: Settled) -> list[Outcome]:
    return [Outcome(one) for one in settled.batch.ledger.column("outcome").to_pylist()]


def reasons(settled: Settled) -> list[str]:
    found: list[str] = settled.batch.quarantine.column("reason").to_pylist()
    return found
