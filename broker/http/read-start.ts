/** Where a reader of a partition begins, from the text of a query: `start`, `end`, an offset (digits), or a time. */
import { PlayheadError } from '../../protocol/errors.ts'
import { parseTime } from '../../protocol/time.ts'
import type { Partition } from '../../replication/partition.ts'

export async function startOffset(partition: Partition, from: string | undefined): Promise<number> {
  if (from === undefined || from === 'start') return partition.log.logStartOffset
  await partition.settled()
  const { log, highWatermark } = partition
  if (from === 'end') return highWatermark
  if (/^\d{1,16}$/.test(from)) return Number(from)
  if (/[-T]/.test(from)) return log.offsetForTime(parseTime(from), 'event', highWatermark)
  const message = `query: from: found ${JSON.stringify(from.slice(0, 64))}, wanted start, end, an offset, or a time with '-' or 'T' in it`
  throw new PlayheadError('invalidArgument', message)
}

export function optionalTime(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseTime(text)
}
