/** bench produce: records through the producer, one `send` each. Latency is that of the oldest record of each batch, counted for all of them. */
import { RecordBatch } from '../../protocol/record-batch.ts'
import type { BenchRun } from './bench-run.ts'
import { RecordSender } from './record-sender.ts'

export async function produceBench(run: BenchRun): Promise<void> {
  const { load, measurement } = run
  const sender = await RecordSender.open(run)
  for (const producer of sender.producers) {
    producer.onWritten = ({ bytes, recordCount }) => {
      const nowMs = performance.now()
      const sentMs = sender.sentMs(load.sequenceOf(firstValue(bytes)))
      measurement.add(recordCount, recordCount * load.recordBytes, nowMs, nowMs - sentMs)
    }
  }
  await sender.run(measurement.begin())
}

/** Decodes one record of a batch: its others were sent later. */
function firstValue(batch: Buffer): Buffer | null {
  for (const { value } of new RecordBatch(batch)) return value
  return null
}
