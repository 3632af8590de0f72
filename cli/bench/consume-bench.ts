/**
 * bench consume: a topic from its start, every record's key and value touched. Latency is how long the reader waited for each batch.
 * With several connections each reads its share of the partitions.
 */
import type { Playhead } from '../../client/index.ts'
import type { BenchRun } from './bench-run.ts'

export async function consumeBench(run: BenchRun): Promise<void> {
  const { clients, settings, measurement } = run
  const { partitions } = await clients[0]!.topic(settings.topic).describe()
  const shares = clients.map((_, client) =>
    partitions.map(({ partition }) => partition).filter((partition) => partition % clients.length === client),
  )
  const untilMs = measurement.begin() + settings.durationMs
  await Promise.all(clients.map((client, index) => read(run, client, shares[index]!, untilMs)))
}

async function read(run: BenchRun, client: Playhead, partitions: readonly number[], untilMs: number): Promise<void> {
  const { settings, measurement, signal } = run
  const replay = client.topic(settings.topic).replay({ from: 'start', partitions, signal })
  let askedMs = performance.now()
  for await (const batch of replay) {
    const gotMs = performance.now()
    const left = settings.records - measurement.records
    if (left <= 0 || gotMs >= untilMs) return
    let records = 0
    let valueBytes = 0
    for (const { key, value } of batch) {
      if (key !== null && key.length === 0) throw new Error('a key of no bytes')
      if (value !== null) valueBytes += value.length
      if (++records === left) break
    }
    const doneMs = performance.now()
    measurement.addUntimed(records, valueBytes, doneMs)
    measurement.latency.add(gotMs - askedMs)
    askedMs = doneMs
  }
}
