/**
 * Playheads: where named readers of a topic stand. Each is a stream of the internal topic, named `<topic id>/<playhead>`, whose
 * last event holds all its positions: the log is the only copy, so there is nothing to lose, to load at the start or to bring in line.
 * Invariant: commits of one playhead happen one after the other, so that each begins from what the one before left.
 * Called by handlers/playhead.ts, calls Partition.
 */
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { encodeEvent } from '../protocol/event.ts'
import { MiB, streamsPerListMax } from '../protocol/limits.ts'
import { checkPlayheadName } from '../protocol/names.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'
import { encodeRecordBatch } from '../protocol/record-batch.ts'
import type { LogRecord } from '../protocol/record.ts'
import { uuidV7 } from '../protocol/uuid.ts'
import type { Partition } from '../replication/partition.ts'
import type { Partitions } from '../replication/partitions.ts'
import { NamedTurns } from './named-turns.ts'

export const playheadsTopic = '__playheads'

export interface NamedPlayhead {
  readonly name: string
  /** Counts its commits from 0. */
  readonly version: number
  readonly positions: PlayheadPosition[]
  readonly committedAtMs: number
}

export interface PlayheadCommit {
  readonly topic: string
  readonly name: string
  readonly positions: readonly PlayheadPosition[]
  readonly expectedVersion?: number | undefined
}

export interface PlayheadsOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly random: Random
}

export class Playheads {
  readonly #partitions: Partitions
  readonly #clock: Clock
  readonly #random: Random
  readonly #turns = new NamedTurns('playhead')

  constructor(options: PlayheadsOptions) {
    this.#partitions = options.partitions
    this.#clock = options.clock
    this.#random = options.random
  }

  /** Creates the internal topic when it is missing. `replicationFactor`: of that. */
  async open(replicationFactor: number): Promise<void> {
    if (this.#partitions.has(playheadsTopic)) return
    const topic = { name: playheadsTopic, partitions: 1, replicationFactor, settings: {}, internal: true }
    await this.#partitions.create(topic).catch((error: unknown) => {
      if (!isPlayheadError(error, 'topicExists')) throw error // another broker was faster
    })
  }

  /** Throws notLeader when another broker has it. */
  get #home(): Partition {
    return this.#partitions.get(playheadsTopic, 0)
  }

  /**
   * Moves the positions named, forwards or back, and resolves with the new version once that is durable. Throws playheadMoved,
   * unknownTopic, unknownPartition, offsetOutOfRange, invalidPlayheadName.
   */
  async commit({ topic, name, positions, expectedVersion }: PlayheadCommit): Promise<number> {
    checkPlayheadName(name)
    const stream = this.#streamOf(topic, name)
    const { id } = this.#partitions.topic(topic).topic
    for (const { partition, offset } of positions) checkPosition(this.#partitions.replica(id, partition), offset)
    return this.#turns.with(stream, async () => {
      const current = await this.#last(stream, name)
      const found = current?.version ?? -1
      if (expectedVersion !== undefined && expectedVersion !== found) throw moved(topic, name, expectedVersion, found)
      return this.#append(stream, merged(current?.positions ?? [], positions), found).catch((error: unknown) => {
        if (isPlayheadError(error, 'wrongExpectedVersion'))
          throw moved(topic, name, found, error.conflicts[0]?.found ?? found)
        throw error
      })
    })
  }

  /** Undefined when it was never committed. Throws unknownTopic, invalidPlayheadName. */
  async read(topic: string, name: string): Promise<NamedPlayhead | undefined> {
    checkPlayheadName(name)
    return this.#last(this.#streamOf(topic, name), name)
  }

  /** By name. Throws unknownTopic. */
  async list(topic: string): Promise<NamedPlayhead[]> {
    const prefix = this.#streamOf(topic, '')
    const playheads: NamedPlayhead[] = []
    let afterStream: string | undefined
    await this.#home.settled()
    for (;;) {
      const limitOffset = this.#home.highWatermark
      const page = this.#home.log.listStreams({ prefix, afterStream, limit: streamsPerListMax, limitOffset })
      for (const { stream } of page) {
        const playhead = await this.#last(stream, stream.slice(prefix.length))
        if (playhead) playheads.push(playhead)
      }
      if (page.length < streamsPerListMax) return playheads
      afterStream = page.at(-1)?.stream
    }
  }

  #streamOf(topic: string, name: string): string {
    return `${this.#partitions.topic(topic).topic.id}/${name}`
  }

  async #last(stream: string, name: string): Promise<NamedPlayhead | undefined> {
    const { records, versions } = await this.#home.readStream({ stream, limit: 1, backwards: true, maxBytes: MiB })
    const record = records[0]
    return (
      record && { name, version: versions[0] ?? 0, positions: decodePositions(record), committedAtMs: record.timestamp }
    )
  }

  async #append(stream: string, positions: readonly PlayheadPosition[], found: number): Promise<number> {
    const nowMs = this.#clock.now()
    const data = { positions: positions.map(({ partition, offset }) => [partition, offset]) }
    const defaults = { id: uuidV7(this.#random.bytes(10), nowMs), timestampMs: nowMs }
    const batch = encodeRecordBatch([encodeEvent(stream, { type: 'PlayheadMoved', data }, defaults)])
    const expected = [{ stream, version: found }]
    const { versions } = await this.#home.append({ batch, expected, wantVersions: true, acks: 'all' })
    return versions[0] ?? found + 1
  }
}

function decodePositions(record: LogRecord): PlayheadPosition[] {
  // Only this file writes the internal topic: what does not parse is a bug, not an expected failure.
  const { positions } = JSON.parse(record.value?.toString() ?? '') as { positions: [number, number][] }
  return positions.map(([partition, offset]) => ({ partition, offset }))
}

function merged(before: readonly PlayheadPosition[], changes: readonly PlayheadPosition[]): PlayheadPosition[] {
  const offsets = new Map(before.map(({ partition, offset }) => [partition, offset]))
  for (const { partition, offset } of changes) offsets.set(partition, offset)
  return [...offsets]
    .map(([partition, offset]) => ({ partition, offset }))
    .toSorted((a, b) => a.partition - b.partition)
}

/** Where another broker leads, how far the partition goes is not known here for sure. */
function checkPosition(partition: Partition, offset: number): void {
  const { highWatermark } = partition
  if (offset <= highWatermark || partition.following !== undefined) return
  // Nor where this broker leads in a cluster: others may lead by now, and have committed more.
  if (partition.leading !== undefined) {
    const message = `${partition.topic}/${partition.partition}: found playhead offset ${offset}, wanted at most the high watermark, which is ${highWatermark} as far as this broker knows; ask again later`
    throw new PlayheadError('unavailable', message, { offset, highWatermark, outcome: 'notApplied' })
  }
  throw new PlayheadError(
    'offsetOutOfRange',
    `${partition.topic}/${partition.partition}: found playhead offset ${offset}, wanted at most the high watermark ${highWatermark}`,
    { offset, highWatermark },
  )
}

function moved(topic: string, name: string, expected: number, found: number): PlayheadError {
  return new PlayheadError(
    'playheadMoved',
    `${topic}/${name}: expected version ${expected}, found ${found}; read the playhead again and decide anew`,
    { expected, found },
  )
}
