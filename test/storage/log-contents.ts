/** Reads a log back in plain text, for comparison with what a test appended. */
import { RecordBatch } from '../../protocol/record-batch.ts'
import type { Log } from '../../storage/log.ts'

/** All records as `stream=value`, in offset order, read `maxBytes` at a time. Offsets must be dense from `offset` on. */
export async function recordsOf(log: Log, offset = log.logStartOffset, maxBytes = 64 * 1024): Promise<string[]> {
  const records: string[] = []
  let next = offset
  for (;;) {
    const { batches, nextOffset } = await log.read({ offset: next, maxBytes, limitOffset: Infinity })
    if (batches.length === 0) return records
    for (const bytes of batches) {
      for (const { offset: at, key, value } of new RecordBatch(bytes)) {
        if (at < next) continue
        if (at !== offset + records.length)
          throw new Error(`found offset ${at} where ${offset + records.length} comes next`)
        records.push(`${key?.toString() ?? ''}=${value?.toString() ?? ''}`)
      }
    }
    next = nextOffset
  }
}

/** All events of a stream as `version=value`, in pages of `limit`. */
export async function eventsOf(
  log: Log,
  stream: string,
  options: { limit?: number; backwards?: boolean; asOf?: number; knownAt?: number } = {},
): Promise<string[]> {
  const { limit = 7, backwards = false, ...times } = options
  const events: string[] = []
  let from: number | undefined
  for (;;) {
    const page = await log.readStream({
      stream,
      from,
      limit,
      backwards,
      maxBytes: 1_000_000,
      limitOffset: Infinity,
      ...times,
    })
    const texts = page.records.map(({ value }, place) => `${page.versions[place]}=${value?.toString() ?? ''}`)
    events.push(...(backwards ? texts.toReversed() : texts))
    if (page.nextVersion === undefined) return events
    from = page.nextVersion
  }
}
