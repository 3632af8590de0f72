/** Measurement: what this machine does durably, in a few seconds. Figures are of this run only; the benchmarks are bench/'s. */
import type { EventStream, Topic } from '../../client/index.ts'
import { MiB } from '../../protocol/limits.ts'

const recordBytes = 100
const measuredMs = 3_000
const warmUpMs = 500
const bufferBytesMax = 8 * MiB
const roundTripsMs = 1_000

export interface DurableRate {
  readonly recordBytes: number
  readonly recordsPerSecond: number
  /** Values only, without keys and frames. */
  readonly bytesPerSecond: number
  readonly tookMs: number
}

/** Appends batches as fast as they are acknowledged; counts from the end of a warm-up until everything sent is durable. */
export async function measureDurableRate(topic: Topic, signal: AbortSignal): Promise<DurableRate> {
  const value = Buffer.alloc(recordBytes, 'playhead ')
  await using producer = topic.producer({ acks: 'all', bufferBytesMax })
  const sendFor = async (durationMs: number): Promise<void> => {
    const untilMs = performance.now() + durationMs
    while (performance.now() < untilMs) {
      for (let index = 0; index < 1_000; index++) {
        const room = producer.send({ value })
        if (room !== undefined) await room
      }
      signal.throwIfAborted()
    }
    await producer.flush()
  }
  await sendFor(warmUpMs)
  const before = producer.stats.writtenRecords
  const startedMs = performance.now()
  await sendFor(measuredMs)
  const tookMs = performance.now() - startedMs
  const recordsPerSecond = ((producer.stats.writtenRecords - before) / tookMs) * 1_000
  return { recordBytes, recordsPerSecond, bytesPerSecond: recordsPerSecond * recordBytes, tookMs }
}

/** One event after the other, each expecting the version the last one got. */
export async function measureRoundTrips(
  stream: EventStream,
  signal: AbortSignal,
): Promise<{ perSecond: number; medianMs: number }> {
  const tookMs: number[] = []
  const startedMs = performance.now()
  const { lastVersion } = await stream.info({ signal })
  let version: number | 'none' = lastVersion === -1 ? 'none' : lastVersion
  while (performance.now() - startedMs < roundTripsMs) {
    const beganMs = performance.now()
    const appended = await stream.append({ type: 'Measured', data: null }, { expectedVersion: version, signal })
    version = appended.version
    tookMs.push(performance.now() - beganMs)
  }
  const sorted = tookMs.toSorted((a, b) => a - b)
  const perSecond = (tookMs.length / (performance.now() - startedMs)) * 1_000
  return { perSecond, medianMs: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN }
}
