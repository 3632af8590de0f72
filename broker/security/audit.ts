/**
 * Audit: what happened to access and to topics, and who was refused what, as events of an internal topic. Each event carries the hash of the one
 * before it (audit-chain.ts), so that nobody changes or leaves out one in the middle without it being seen.
 * Invariants: events stand in the order in which they happened; who floods the broker with refusals fills neither memory nor disk: equal
 * ones within a while are one event with a count, and what does not fit any more is counted as lost in the next event.
 * Neighbours: Security owns it; `playhead audit verify` follows the chain.
 */
import type { Clock, Timer } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { chainStart, linkedData } from '../../protocol/audit-chain.ts'
import type { AuditFacts } from '../../protocol/audit-chain.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { LogRecord, RecordInput } from '../../protocol/record.ts'
import { uuidV7 } from '../../protocol/uuid.ts'
import type { Partitions } from '../../replication/partitions.ts'

import { InternalLog } from '../internal-log.ts'
import type { OtherBrokers } from '../internal-log.ts'

export const auditTopic = '__audit'
/** All events of a broker are one stream: the chain. In a cluster each has its own, with its id behind this. */
const auditStream = 'audit'
/** In a cluster, how long events are sent again that the leader has not taken. */
const triesMsMax = 30_000
/** Events that wait to be written; and different refusals remembered to tell the next equal one. */
const waitingMax = 10_000
const batchEventsMax = 500
/** Equal refusals within this time are one event. */
const equalWithinMs = 10_000
const textMax = 512

export interface AuditNote {
  /** camelCase, what was done or tried: `authenticate`, `deleteTopic`, `changeGrants` … */
  readonly action: string
  readonly outcome: 'done' | 'refused'
  readonly principal: string
  readonly address: string
  readonly resource?: string
  readonly reason?: string
}

interface Repeated {
  readonly note: AuditNote
  count: number
}

export interface AuditOptions {
  readonly partitions: Partitions
  readonly clock: Clock
  readonly random: Random
  /** Undefined = this broker is by itself. */
  readonly others: OtherBrokers | undefined
  readonly report: (level: 'warn', message: string) => void
}

export class Audit {
  readonly stats = { written: 0, lost: 0 }
  readonly #options: AuditOptions
  readonly #log: InternalLog
  readonly #stream: string
  #hash: string
  #number: number
  #waiting: { facts: AuditFacts; type: string }[] = []
  #writing: Promise<void> | undefined
  /** Refusals since the last round, by what is equal about them. */
  #repeated = new Map<string, Repeated>()
  #round: Timer | undefined
  #lost = 0
  /** In a cluster: what became of the last events is not known, nor where the chain stands. */
  #isUncertain = false
  #closed = false

  private constructor(options: AuditOptions, log: InternalLog, last: { hash: string; number: number }) {
    this.#options = options
    this.#log = log
    this.#stream = streamOf(options)
    this.#hash = last.hash
    this.#number = last.number
  }

  /** Creates the topic when it is missing; goes on with the chain where it ends. */
  static async open(options: AuditOptions): Promise<Audit> {
    const log = new InternalLog({ ...options, topic: auditTopic })
    await log.create()
    return new Audit(options, log, chainEnd(await log.lastOf(streamOf(options))))
  }

  /** Never waits and never throws. */
  note(note: AuditNote): void {
    if (this.#closed) return
    if (note.outcome === 'done') return this.#add(note, 1)
    const key = JSON.stringify([note.action, note.principal, note.address, note.resource])
    const known = this.#repeated.get(key)
    if (known !== undefined) {
      known.count++
      return
    }
    if (this.#repeated.size >= waitingMax) {
      this.#lost++
      this.stats.lost++
      return
    }
    // The first is written at once; those after it are counted and written together at the end of the round.
    this.#repeated.set(key, { note, count: 0 })
    this.#add(note, 1)
    this.#round ??= this.#options.clock.after(equalWithinMs, () => this.#endRound())
  }

  /** Resolves when all that was noted is durable, or cannot be. */
  async close(): Promise<void> {
    this.#endRound()
    this.#closed = true
    this.#round?.cancel()
    await this.#writing
  }

  #endRound(): void {
    this.#round?.cancel()
    this.#round = undefined
    const repeated = this.#repeated
    this.#repeated = new Map()
    for (const { note, count } of repeated.values()) if (count > 0) this.#add(note, count)
  }

  #add({ action, outcome, principal, address, resource, reason }: AuditNote, count: number): void {
    if (this.#waiting.length >= waitingMax) {
      this.#lost++
      this.stats.lost++
      return
    }
    const facts: AuditFacts = {
      atMs: this.#options.clock.now(),
      outcome,
      principal: cut(principal),
      address: cut(address),
      resource: cut(resource ?? ''),
      reason: cut(reason ?? ''),
      count,
      lost: this.#lost,
    }
    this.#lost = 0
    this.#waiting.push({ facts, type: action })
    this.#writing ??= this.#write()
  }

  async #write(): Promise<void> {
    try {
      await Promise.resolve() // what else is noted in this turn joins
      while (this.#waiting.length > 0) await this.#writeSome(this.#waiting.splice(0, batchEventsMax))
    } catch (error) {
      // The disk is full, or the topic is closing: what was asked of the broker goes on, and the gap is told.
      this.#options.report('warn', `audit: events could not be written: ${String(error)}`)
      this.#lost += this.#waiting.length
      this.stats.lost += this.#waiting.length
      this.#waiting = []
    } finally {
      this.#writing = undefined
    }
  }

  async #writeSome(events: readonly { facts: AuditFacts; type: string }[]): Promise<void> {
    const { clock, random } = this.#options
    if (this.#isUncertain) await this.#resume()
    let [hash, number] = [this.#hash, this.#number]
    const records: RecordInput[] = []
    for (const { facts, type } of events) {
      const data = linkedData(number, type, facts, hash)
      const defaults = { id: uuidV7(random.bytes(10), clock.now()), timestampMs: facts.atMs }
      records.push(encodeEvent(this.#stream, { type, data }, defaults))
      hash = data.hash
      number++
    }
    try {
      await this.#append(encodeRecordBatch(records), hash)
    } catch (error) {
      this.#isUncertain = this.#options.others !== undefined
      this.#lost += events.length
      this.stats.lost += events.length
      throw error
    }
    this.#hash = hash
    this.#number = number
    this.stats.written += events.length
  }

  async #resume(): Promise<void> {
    const last = chainEnd(await this.#log.lastOf(this.#stream))
    this.#hash = last.hash
    this.#number = last.number
    this.#isUncertain = false
  }

  /** At a leader that may change: sent again behind the same version, so that it is there once. */
  async #append(batch: Buffer, lastHash: string): Promise<void> {
    const { others, clock } = this.#options
    if (others === undefined) return void (await this.#log.append(this.#stream, batch))
    const version = this.#number - 1
    const deadlineMs = clock.monotonicMs() + triesMsMax
    for (;;) {
      try {
        return void (await this.#log.append(this.#stream, batch, version))
      } catch (error) {
        if (!isPlayheadError(error) || this.#closed || clock.monotonicMs() >= deadlineMs) throw error
        if (isPlayheadError(error, 'wrongExpectedVersion')) {
          // Another run of this broker may have written as many events of its own.
          const last = await this.#lastHash()
          if (last === lastHash) return
          if (last !== undefined) throw error
        }
      }
      await this.#log.pause()
    }
  }

  /** Undefined = nobody can say now. */
  async #lastHash(): Promise<string | undefined> {
    try {
      return chainEnd(await this.#log.lastOf(this.#stream)).hash
    } catch (error) {
      if (isPlayheadError(error)) return undefined
      throw error
    }
  }
}

/** Behind the last event that is there. */
function chainEnd(last: LogRecord | undefined): { hash: string; number: number } {
  if (last === undefined) return { hash: chainStart, number: 0 }
  const { number, hash } = JSON.parse(last.value?.toString() ?? '') as { number: number; hash: string }
  return { hash, number: number + 1 }
}

function streamOf({ others }: AuditOptions): string {
  return others === undefined ? auditStream : `${auditStream}/${others.self}`
}

function cut(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax).toWellFormed()}…`
}
