/**
 * importFile: the rows of a file as events of a topic, each exactly once however often it is interrupted and run again. It is a named
 * producer: for each partition the broker knows how many of its rows it has, and those are skipped.
 * Invariant: when it throws, every row before the one it names has been appended durably.
 * Neighbours: import.ts is the command; file-bytes.ts reads, csv-records.ts and ndjson-records.ts make the records.
 */
import type { NamedProducer, Playhead, Topic } from '../client/index.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { KiB, MiB } from '../protocol/limits.ts'
import type { RecordInput } from '../protocol/record.ts'
import { CsvRecords } from './csv-records.ts'
import { fileBytes, fileHash, fileSize } from './file-bytes.ts'
import { importHash } from './import-mapping.ts'
import type { ImportMapping } from './import-mapping.ts'
import { NdjsonRecords } from './ndjson-records.ts'
import type { RecordSource } from './record-source.ts'
import { RowProblem } from './row-problem.ts'
import { StreamKeys } from './stream-keys.ts'

/**
 * One batch of a partition is under way at a time, so they are large, and wait a while to become so: the rows are durable a moment later,
 * and there are fewer of them to write, sync and answer. Measured: half the broker's time and two thirds of ours, against 60 KiB.
 */
const batchBytes = 512 * KiB
const lingerMs = 100

export interface ImportProgress {
  readonly phase: 'checking' | 'importing'
  /** Of the file as it is on disk. */
  readonly bytesRead: number
  readonly bytesTotal: number
  /** Rows so far, those included that were there already. */
  readonly records: number
  /** Since the start. */
  readonly elapsedMs: number
}

export interface ImportOptions {
  readonly playhead: Playhead
  readonly topic: string
  readonly file: string
  readonly mapping: ImportMapping
  /** Called often, from the hot path: it must be cheap. */
  readonly onProgress?: (progress: ImportProgress) => void
  readonly signal?: AbortSignal
}

export interface ImportSummary {
  /** Rows of the file. */
  readonly records: number
  /** Of these, by this run. */
  readonly appended: number
  /** Of these, there already from an earlier run. */
  readonly skipped: number
  /** Different streams in the file. */
  readonly streams: number
  readonly seconds: number
}

/**
 * Throws invalidRow naming file and line, invalidArgument when the file cannot be read, what the producer throws, and the signal's reason.
 * The topic must exist.
 */
export async function importFile(options: ImportOptions): Promise<ImportSummary> {
  const { playhead, topic, file, mapping, signal, onProgress } = options
  const startedMs = performance.now()
  const bytesTotal = await fileSize(file)
  let records = 0
  const tell = (phase: ImportProgress['phase'], bytesRead: number): void =>
    onProgress?.({ phase, bytesRead, bytesTotal, records, elapsedMs: performance.now() - startedMs })

  const hash = await fileHash(file, { signal, onBytes: (bytesRead) => tell('checking', bytesRead) })
  const streams = new StreamKeys(mapping)
  const context = { fileHash: hash, nowMs: Date.now() }
  const source =
    mapping.format === 'csv' ? new CsvRecords(mapping, streams, context) : new NdjsonRecords(mapping, streams, context)
  const producer = await openProducer(playhead.topic(topic), importHash(hash, mapping), signal)
  try {
    let bytesRead = 0
    const onBytes = (count: number): void => void (bytesRead = count)
    for await (const bytes of fileBytes(file, { signal, onBytes })) {
      source.push(bytes)
      records += await sendRecords(source, producer, file, signal)
      tell('importing', bytesRead)
    }
    source.end()
    records += await sendRecords(source, producer, file, signal)
    tell('importing', bytesRead)
  } finally {
    // Also after a bad row: what was sent before it is to be durable when its message is read.
    await producer.close()
  }
  const { appended, skipped } = producer.counts
  const seconds = Math.round(performance.now() - startedMs) / 1000
  return { records, appended, skipped, streams: streams.count, seconds }
}

/** A batch is full a record late, so that half of what the topic takes leaves room for one. */
async function openProducer(topic: Topic, nameHash: Buffer, signal: AbortSignal | undefined): Promise<NamedProducer> {
  const wait = signal === undefined ? {} : { signal }
  const { settings } = await topic.describe(wait)
  const bytesMax = Number(settings.find(({ name }) => name === 'max.message.bytes')?.value ?? MiB)
  return topic.namedProducer(nameHash, { ...wait, lingerMs, batchBytes: Math.min(batchBytes, Math.ceil(bytesMax / 2)) })
}

/** Sends what the source has; answers how many records. */
async function sendRecords(
  source: RecordSource,
  producer: NamedProducer,
  file: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  for (let count = 0; ; count++) {
    const record = nextRecord(source, file)
    if (record === undefined) return count
    const room = producer.send(record)
    if (room !== undefined) {
      await room
      signal?.throwIfAborted()
    }
  }
}

function nextRecord(source: RecordSource, file: string): RecordInput | undefined {
  try {
    return source.next()
  } catch (error) {
    if (error instanceof RowProblem) throw rowError(file, source.line, error.message)
    throw error
  }
}

function rowError(file: string, line: number, message: string): PlayheadError {
  return new PlayheadError(
    'invalidRow',
    `${file} line ${line}: ${message}; the rows before it are imported: fix it and import the rest as a file of its own`,
    { file, line },
  )
}
