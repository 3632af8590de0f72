/** The stream index in memory: keys of batches walked, hashed, checked and added; ten events of a stream looked up. Stored heads are not in it. */
import { systemClock } from '../../platform/clock.ts'
import { BATCH_HEADER_BYTES, RecordBatchBuilder } from '../../protocol/record-batch.ts'
import { BatchKeys } from '../../storage/batch-streams.ts'
import { logPrefix } from '../../storage/index-keys.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { StreamIndex } from '../../storage/stream-index.ts'
import { bench } from '../harness.ts'
import type { Bench } from '../harness.ts'

const recordsPerBatch = 500
const eventsPerStream = 10
const value = Buffer.alloc(16, 'v')
/** Steps through all streams in no order that memory or a sort would like: odd, and no factor of the numbers of streams here. */
const STRIDE = 7_368_787

const nameOf = (number: number) => `customer-${number}`

/** The records of `count` events over `streams` streams, in batches. */
function recordsOf(count: number, streams: number): Buffer[] {
  const builder = new RecordBatchBuilder()
  const batches: Buffer[] = []
  for (let done = 0; done < count; done += recordsPerBatch) {
    for (let event = done; event < done + recordsPerBatch; event++) {
      builder.append({ key: nameOf((event * STRIDE) % streams), value, timestamp: 1_700_000_000_000 })
    }
    batches.push(builder.build().subarray(BATCH_HEADER_BYTES))
  }
  return batches
}

function openIndex(): StreamIndex {
  return StreamIndex.open({
    store: new MemoryCheckpointStore(),
    prefix: logPrefix(Buffer.alloc(16, 1), 0),
    clock: systemClock,
  })
}

function fill(index: StreamIndex, batches: readonly Buffer[]): void {
  for (const [place, records] of batches.entries()) {
    index.addBatch(BatchKeys.of(records, 0, recordsPerBatch), place * recordsPerBatch)
  }
}

/** Made at the first round, which is not measured. */
function addBench(streams: number, name: string): Bench {
  let batches: Buffer[] = []
  return bench(
    `stream index: walk, hash, check and add over ${name} streams`,
    { smoke: 5_000, full: 1_200_000 },
    (count) => {
      if (batches.length * recordsPerBatch !== count) batches = recordsOf(count, streams)
      const index = openIndex()
      fill(index, batches)
      return index.memoryBytes + index.lastVersion(nameOf(STRIDE % streams))
    },
  )
}

function lookupBench(): Bench {
  let [index, filled] = [openIndex(), 0]
  return bench('stream index: look up 10 events of a stream', { smoke: 5_000, full: 1_000_000 }, (count) => {
    const streams = count / eventsPerStream
    if (filled !== count) {
      ;[index, filled] = [openIndex(), count]
      fill(index, recordsOf(count, streams))
    }
    let hash = 0
    for (let done = 0; done < streams; done++) {
      const stream = nameOf((done * STRIDE) % streams)
      const range = { fromVersion: 0, count: eventsPerStream, limitOffset: Infinity, direction: 'forwards' } as const
      for (const offset of index.look(stream).lookup(range).offsets) hash = (hash * 31 + offset) | 0
    }
    return hash
  })
}

export const benches: readonly Bench[] = [addBench(100_000, '100 k'), addBench(1_000_000, '1 M'), lookupBench()]
