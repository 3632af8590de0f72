/** Puts the reader of one log together from what recovery found. Called by Log; LogReader is what comes of it. */
import { BatchCutter } from './batch-cutter.ts'
import { describeRange } from './damage.ts'
import type { DamagedRange } from './damage.ts'
import { LogReader } from './log-reader.ts'
import type { LogExtent } from './log-reader.ts'
import type { RecoveredLog } from './recovery.ts'
import type { Sealing } from './sealing.ts'
import { SegmentReader } from './segment-reader.ts'
import type { StorageContext } from './storage-context.ts'
import { StreamReader } from './stream-reader.ts'
import type { TailCache } from './tail-cache.ts'

export interface LogReaderParts {
  /** Of the log, for messages. */
  readonly name: string
  readonly context: StorageContext
  readonly recovered: RecoveredLog
  readonly tail: TailCache
  readonly sealing: Sealing
  /** As of now. */
  readonly extent: () => LogExtent
}

export function openLogReader({ name, context, recovered, tail, sealing, extent }: LogReaderParts): LogReader {
  const { pool, report, settings, decompression, readMemory: memory, clock, readAheadBudget, firstPassage } = context
  const { salt, damage, index, limits } = recovered
  const onDamage = (range: DamagedRange): void => report('warn', `${name}: ${describeRange(range)}`)
  const segments = new SegmentReader({
    pool,
    cutter: new BatchCutter({ salt, damage, onDamage }),
    damage,
    memory,
    firstPassage,
    clock,
    loadIndexes: (segment, file) => sealing.loadIndexes(segment, file),
  })
  const streams = new StreamReader({ index, reader: segments, tail, settings, decompression, clock })
  return new LogReader({
    name,
    tail,
    segments,
    memory,
    decompression,
    streams,
    extent,
    clock,
    limits,
    readAheadBudget,
  })
}
