/** Reads a damaged log in plain text, for comparison with what a test appended: what cannot be served is jumped over as its error says. */
import assert from 'node:assert/strict'
import { isPlayheadError } from '../../protocol/errors.ts'
import { RecordBatch } from '../../protocol/record-batch.ts'
import type { Log } from '../../storage/log.ts'

function textOf(key: Buffer | string | null, value: Buffer | null): string {
  return `${key?.toString() ?? ''}=${value?.toString() ?? ''}`
}

/** Every record that is served, as `stream=value`, by offset. */
export async function recordsAround(log: Log): Promise<Map<number, string>> {
  const found = new Map<number, string>()
  for (let offset = log.logStartOffset; offset < log.logEndOffset; ) {
    let next: number
    try {
      const { batches, nextOffset } = await log.read({ offset, maxBytes: 100_000, limitOffset: Infinity })
      for (const bytes of batches)
        for (const { offset: at, key, value } of new RecordBatch(bytes)) found.set(at, textOf(key, value))
      next = nextOffset
    } catch (error) {
      if (!isPlayheadError(error, 'corruptBatch')) throw error
      next = Number(error.details.nextOffset)
    }
    assert.ok(next > offset, `found ${next} as what comes after offset ${offset}`)
    offset = next
  }
  return found
}

/** Every event of a stream that is served, as `stream=value`, by version. */
export async function eventsAround(log: Log, stream: string): Promise<Map<number, string>> {
  const found = new Map<number, string>()
  for (let from: number | undefined = 0; from !== undefined; ) {
    const request = { stream, from, limit: 20, backwards: false, maxBytes: 1e6, limitOffset: Infinity }
    let next: number | undefined
    try {
      const { records, versions, nextVersion } = await log.readStream(request)
      for (const [place, { value }] of records.entries()) found.set(versions[place]!, textOf(stream, value))
      next = nextVersion
    } catch (error) {
      if (!isPlayheadError(error, 'corruptBatch')) throw error
      next = Number(error.details.nextVersion)
    }
    assert.ok(next === undefined || next > from, `found ${next} as what comes after version ${from} of ${stream}`)
    from = next
  }
  return found
}
