/**
 * AccessStore: the access topic, which is where users, tokens, grants and quotas are kept: an internal topic of this broker, so that they are as
 * durable as events, are backed up with them and follow the log wherever it goes. Read from its start when the broker starts; each change
 * is appended, and in force once it is durable.
 * Invariants: changes happen one after the other, each decided on all before it; facts are exactly what the topic says up to
 * `#nextOffset`; the topic is answered to nobody.
 * Neighbours: Security owns it; AccessFacts is what it makes of the topic.
 */
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { MiB } from '../../protocol/limits.ts'
import { encodeRecordBatch, splitBatches } from '../../protocol/record-batch.ts'
import type { LogRecord } from '../../protocol/record.ts'
import { uuidV7 } from '../../protocol/uuid.ts'
import type { Partition } from '../../replication/partition.ts'
import type { Partitions } from '../../replication/partitions.ts'
import { AccessFacts } from './access-facts.ts'
import type { AccessEvent } from './access-facts.ts'

export const accessTopic = '__access'
const readBytesMax = 4 * MiB
const secretBytes = 32
/** How long one look for changes that somebody else has written may take. */
const followWaitMs = 60_000
/** Changes that may wait for each other. */
const waitingChangesMax = 1_000

export interface AccessStoreOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly random: Random
  /** The facts are other ones than before. */
  readonly onChange: () => void
  /** What others have changed cannot be read: a right that was taken may still be in force here. */
  readonly onFailure: (error: Error) => void
}

export class AccessStore {
  readonly facts = new AccessFacts()
  readonly #options: AccessStoreOptions
  readonly #home: Partition
  readonly #gone = new AbortController()
  #nextOffset = 0
  #reading: Promise<void> | undefined
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  private constructor(options: AccessStoreOptions, home: Partition) {
    this.#options = options
    this.#home = home
    this.#nextOffset = home.log.logStartOffset
  }

  /** Creates the topic when it is missing. Throws corruptBatch when it cannot be read whole: nobody may get a right back that was taken. */
  static async open(options: AccessStoreOptions): Promise<AccessStore> {
    const { partitions } = options
    if (!partitions.has(accessTopic)) {
      const topic = { name: accessTopic, partitions: 1, replicationFactor: 1, settings: {}, internal: true }
      await partitions.create(topic)
    }
    const store = new AccessStore(options, partitions.get(accessTopic, 0))
    await store.#catchUp()
    if (store.facts.secret === undefined) {
      const secret = options.random.bytes(secretBytes).toString('base64')
      await store.change('secret', () => ({ type: 'SecretMade', data: { secret } }))
    }
    void store.#follow()
    return store
  }

  /**
   * Appends what `decide` answers, decided on the facts as all changes before have left them; nothing when it answers undefined. Resolves when
   * it is durable and in force. Throws what `decide` throws, and what an append does.
   */
  async change(stream: string, decide: (facts: AccessFacts) => AccessEvent | undefined): Promise<void> {
    if (this.#waiting >= waitingChangesMax) {
      const message = `access: found ${this.#waiting} changes waiting, wanted fewer than ${waitingChangesMax}; send again later`
      throw new PlayheadError('overloaded', message, { limit: waitingChangesMax })
    }
    this.#waiting++
    const turn = this.#last.then(() => this.#change(stream, decide))
    this.#last = turn.catch(() => {})
    try {
      await turn
    } finally {
      this.#waiting--
    }
  }

  close(): void {
    this.#gone.abort()
  }

  async #change(stream: string, decide: (facts: AccessFacts) => AccessEvent | undefined): Promise<void> {
    await this.#catchUp()
    const event = decide(this.facts)
    if (event === undefined) return
    const { clock, random } = this.#options
    const nowMs = clock.now()
    const defaults = { id: uuidV7(random.bytes(10), nowMs), timestampMs: nowMs }
    const batch = encodeRecordBatch([encodeEvent(stream, { type: event.type, data: event.data }, defaults)])
    await this.#home.append({ batch, expected: [], wantVersions: false, acks: 'all' })
    await this.#catchUp()
  }

  /** One reading at a time: whoever comes later asks again, as what he waits for may lie behind what is being read. */
  async #catchUp(): Promise<void> {
    while (this.#reading !== undefined) await this.#reading
    if (this.#nextOffset >= this.#home.highWatermark) return
    this.#reading = this.#read()
    try {
      await this.#reading
    } finally {
      this.#reading = undefined
    }
  }

  async #read(): Promise<void> {
    while (this.#nextOffset < this.#home.highWatermark) {
      const { batches, nextOffset } = await this.#home.read(this.#nextOffset, readBytesMax)
      if (nextOffset <= this.#nextOffset) break
      for (const bytes of batches) {
        for (const batch of splitBatches(bytes)) {
          for (const record of batch)
            if (record.offset >= this.#nextOffset) this.facts.apply(eventOf(record), record.timestamp)
        }
      }
      this.#nextOffset = nextOffset
    }
    this.#options.onChange()
  }

  /** Where another broker leads the topic, its changes arrive here. */
  async #follow(): Promise<void> {
    const { signal } = this.#gone
    while (!signal.aborted) {
      const moved = await this.#home
        .waitForHighWatermark(this.#nextOffset + 1, followWaitMs, signal)
        .catch(() => undefined)
      if (moved === undefined) return // the topic is closed
      if (moved) await this.#catchUp().catch((error: unknown) => this.#failed(error))
    }
  }

  #failed(error: unknown): void {
    if (this.#gone.signal.aborted) return
    this.#gone.abort()
    this.#options.onFailure(error instanceof Error ? error : new Error(String(error)))
  }
}

function eventOf(record: LogRecord): AccessEvent {
  const type = record.headers.find(({ key }) => key === 'type')?.value?.toString() ?? ''
  // Only this file writes the topic: what does not parse is a bug, not an expected failure.
  return { type, data: JSON.parse(record.value?.toString() ?? '') as unknown } as AccessEvent
}
