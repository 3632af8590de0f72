/**
 * bench end-to-end: a producer at a set rate and a reader that follows, in one process. Latency is from when a record was due to be sent until
 * the reader has it, durable by then.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import type { Replay } from '../../client/index.ts'
import type { BenchRun } from './bench-run.ts'
import { RecordSender } from './record-sender.ts'

export async function endToEndBench(run: BenchRun): Promise<void> {
  const { clients, settings, measurement, signal } = run
  const sender = await RecordSender.open(run)
  const reading = new AbortController()
  const stopReading = (): void => reading.abort(signal.reason)
  signal.addEventListener('abort', stopReading, { once: true })
  const replay = clients[0]!.topic(settings.topic).replay({ from: 'end', follow: true, signal: reading.signal })
  await replay.ranges() // what "end" means is settled before the first record
  let countedFromMs = 0
  const isCounted = (dueMs: number) => dueMs >= countedFromMs
  const received = readUntil(run, sender, replay, { isCounted, isOver: () => reading.signal.aborted }).catch(
    (error: unknown) => {
      // Ended by us: all is received, or the run has a reason of its own.
      if (!(reading.signal.aborted && error === reading.signal.reason)) run.fail(error)
    },
  )
  try {
    const startedMs = measurement.begin()
    countedFromMs = startedMs + settings.warmUpMs
    await sender.run(startedMs)
    await untilReceived(run, sender)
  } finally {
    reading.abort(new Error('all is received'))
    signal.removeEventListener('abort', stopReading)
    await received
  }
}

async function readUntil(
  { load, measurement }: BenchRun,
  sender: RecordSender,
  replay: Replay,
  { isCounted, isOver }: { isCounted: (dueMs: number) => boolean; isOver: () => boolean },
): Promise<void> {
  for await (const batch of replay) {
    const nowMs = performance.now()
    for (const { value } of batch) {
      const sequence = load.sequenceOf(value)
      if (sequence < 0) continue
      const dueMs = sender.sentMs(sequence)
      if (isCounted(dueMs)) measurement.add(1, load.recordBytes, nowMs, nowMs - dueMs)
      else measurement.addUntimed(1, load.recordBytes, nowMs)
    }
    if (isOver()) return
  }
}

/** Everything is written: the reader has it a moment later, or something is wrong. */
async function untilReceived({ measurement, signal, timeoutMs }: BenchRun, sender: RecordSender): Promise<void> {
  let progressMs = performance.now()
  for (let before = measurement.records; before < sender.sent; ) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    signal.throwIfAborted()
    const nowMs = performance.now()
    if (measurement.records > before) progressMs = nowMs
    before = measurement.records
    if (nowMs - progressMs < timeoutMs) continue
    const message = `bench end-to-end: found ${before} records received within ${timeoutMs} ms, wanted ${sender.sent}`
    throw new PlayheadError('timedOut', message)
  }
}
