/**
 * AppendOnce: appends events whose ids their sender has chosen, so that the same request sent again appends nothing: their ids are looked
 * for among the last events of the stream, and the append is on the condition that nothing came in between.
 * Invariants: what was looked at is everything up to the version that the append expects; an answer rests on what is committed. What is kept in
 * memory only saves reading: it may be forgotten at any time.
 * Called by routes/streams.ts, calls Partition.
 */
import { PlayheadError, isPlayheadError } from '../../protocol/errors.ts'
import { MiB } from '../../protocol/limits.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { LogRecord, RecordInput } from '../../protocol/record.ts'
import type { Partition } from '../../replication/partition.ts'

/** How far back an event that was sent before is found. */
const eventsLookedAt = 1_000
/** Ids in memory over all streams; an entry is about 100 bytes. */
const idsKeptMax = 100_000
/** Others that append to the same stream all the time: then it is the sender's to try again. */
const attemptsMax = 16
const pageBytesMax = 1 * MiB

export interface OnceResult {
  readonly partition: number
  readonly offset: number
  readonly versions: readonly number[]
  /** It was there already. */
  readonly repeated: boolean
}

interface OnceRequest {
  readonly partition: Partition
  readonly stream: string
  readonly records: readonly RecordInput[]
  readonly expectedVersion: number | undefined
}

/** Ids of the last events of one stream, those up to and with `lastVersion`. Grows in place: whoever adds, adds what follows. */
interface KnownIds {
  lastVersion: number
  readonly versions: Map<string, number>
  /** It is among those that are kept, and its ids are counted. */
  isKept: boolean
}

export class AppendOnce {
  /** By topic id and stream, the least recently used first. */
  readonly #known = new Map<string, KnownIds>()
  #idCount = 0

  /** Throws as Partition.append does, idReused, and overloaded when others append to the stream all the time. */
  async append(request: OnceRequest): Promise<OnceResult> {
    const { partition, stream, records, expectedVersion } = request
    const ids = records.map(idOf)
    if (new Set(ids).size < ids.length) throw reused(request, 'the same id twice in one request')
    for (let attempt = 1; ; attempt++) {
      const known = await this.#look(partition, stream)
      const lookedTo = known.lastVersion
      const found = ids.map((id) => known.versions.get(id))
      if (found.some((version) => version !== undefined)) return repeatedResult(request, found)
      try {
        const batch = encodeRecordBatch(records)
        const expected = [{ stream, version: expectedVersion ?? lookedTo }]
        const { baseOffset, versions } = await partition.append({ batch, expected, wantVersions: true, acks: 'all' })
        if (versions[0] === known.lastVersion + 1) this.#learn(known, ids, versions)
        return { partition: partition.partition, offset: baseOffset, versions, repeated: false }
      } catch (error) {
        // Somebody was faster, perhaps the same request: what it wrote is committed, so the next look sees it.
        if (!isPlayheadError(error, 'wrongExpectedVersion') || error.conflicts[0]?.found === lookedTo) throw error
        if (attempt >= attemptsMax) throw contended(request)
      }
    }
  }

  /** The ids of the last events; what is not known of them yet is read. */
  async #look(partition: Partition, stream: string): Promise<KnownIds> {
    const known = this.#use(`${partition.topicId}/${stream}`)
    await partition.settled()
    const { lastVersion, firstVersion } = partition.log.streamInfo(stream, partition.highWatermark)
    let from = Math.max(known.lastVersion + 1, lastVersion + 1 - eventsLookedAt, firstVersion)
    while (from <= lastVersion) {
      const { ids, versions, nextVersion } = await readIds(partition, stream, from, lastVersion)
      if (nextVersion > known.lastVersion) this.#learn(known, ids, versions)
      known.lastVersion = Math.max(known.lastVersion, nextVersion - 1)
      from = nextVersion
    }
    known.lastVersion = Math.max(known.lastVersion, lastVersion)
    return known
  }

  #use(key: string): KnownIds {
    const known = this.#known.get(key) ?? { lastVersion: -1, versions: new Map<string, number>(), isKept: false }
    this.#known.delete(key)
    this.#known.set(key, known)
    if (!known.isKept) this.#idCount += known.versions.size + 1
    known.isKept = true
    for (const [oldest, ids] of this.#known) {
      if (this.#idCount <= idsKeptMax || oldest === key) break
      this.#known.delete(oldest)
      this.#idCount -= ids.versions.size + 1
      ids.isKept = false
    }
    return known
  }

  #learn(known: KnownIds, ids: readonly string[], versions: readonly number[]): void {
    const { size } = known.versions
    for (const [index, id] of ids.entries()) known.versions.set(id, versions[index] ?? -1)
    known.lastVersion = Math.max(known.lastVersion, versions.at(-1) ?? -1)
    for (const [id, version] of known.versions) {
      if (version > known.lastVersion - eventsLookedAt) break
      known.versions.delete(id)
    }
    if (known.isKept) this.#idCount += known.versions.size - size
  }
}

interface ReadIds {
  readonly ids: string[]
  readonly versions: readonly number[]
  readonly nextVersion: number
}

/** One page; damage is passed over, as what is not readable cannot be compared. */
async function readIds(partition: Partition, stream: string, from: number, lastVersion: number): Promise<ReadIds> {
  const limit = lastVersion + 1 - from
  try {
    const page = await partition.readStream({ stream, from, limit, backwards: false, maxBytes: pageBytesMax })
    const { records, versions, nextVersion = lastVersion + 1 } = page
    return { ids: records.map(idOf), versions, nextVersion }
  } catch (error) {
    if (!isPlayheadError(error, 'corruptBatch') || error.details.nextVersion === undefined) throw error
    return { ids: [], versions: [], nextVersion: Math.max(from + 1, Number(error.details.nextVersion)) }
  }
}

/**
 * All of them were appended before, as they are and one after the other: the answer is that of then. Of a long request the first ones may be
 * farther back than what was looked at: one that was found says where the others must be. Throws idReused.
 */
async function repeatedResult(request: OnceRequest, found: readonly (number | undefined)[]): Promise<OnceResult> {
  const { partition, stream, records } = request
  const place = found.findIndex((version) => version !== undefined)
  const first = (found[place] ?? 0) - place
  if (first < 0) throw reused(request, 'only some of them')
  const versions: number[] = []
  let offset = -1
  while (versions.length < records.length) {
    const from = first + versions.length
    const limit = records.length - versions.length
    const page = await partition.readStream({ stream, from, limit, backwards: false, maxBytes: pageBytesMax })
    for (const [index, record] of page.records.entries()) {
      const sent = records[versions.length]
      const version = first + versions.length
      if (sent === undefined || page.versions[index] !== version || idOf(sent) !== idOf(record))
        throw reused(request, 'only some of them')
      if (!isSame(sent, record)) throw reused(request, `another event, version ${version}`)
      if (offset < 0) offset = record.offset
      versions.push(version)
    }
    if (page.records.length === 0) throw reused(request, 'what cannot be read any more')
  }
  return { partition: partition.partition, offset, versions, repeated: true }
}

/** Type and content: times and metadata are the sender's clock and route, which may differ from one try to the next. */
function isSame(sent: RecordInput, kept: LogRecord): boolean {
  return bytesOf(sent.value).equals(bytesOf(kept.value)) && headerOf(sent, 'type').equals(headerOf(kept, 'type'))
}

function idOf(record: RecordInput | LogRecord): string {
  return headerOf(record, 'id').toString('latin1')
}

function headerOf({ headers = [] }: RecordInput | LogRecord, name: string): Buffer {
  for (const { key, value } of headers) if (key === name) return bytesOf(value)
  return bytesOf(null)
}

function bytesOf(blob: string | Buffer | null): Buffer {
  return typeof blob === 'string' ? Buffer.from(blob) : (blob ?? noBytes)
}

const noBytes = Buffer.alloc(0)

function reused({ partition, stream }: OnceRequest, found: string): PlayheadError {
  const message = `${partition.topic}/${stream}: found ${found} under the ids of this request, wanted events that are new, or the same ones again; give each event an id of its own`
  return new PlayheadError('idReused', message)
}

function contended({ partition, stream }: OnceRequest): PlayheadError {
  const message = `${partition.topic}/${stream}: found another append in between ${attemptsMax} times, wanted a moment without; try again`
  return new PlayheadError('overloaded', message, { attempts: attemptsMax })
}
